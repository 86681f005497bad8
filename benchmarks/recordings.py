"""Recordings of any length and format, made from the longest sample."""

from pathlib import Path

import numpy as np
from scipy.io import wavfile

from refiner.audio import SAMPLE_RATE_HZ, Pcm
from tests.sound import encode, wav

SAMPLES = Path(__file__).parent.parent / "samples"
SHORT = SAMPLES / "blunt.wav"


def speech(seconds: float) -> Pcm:
    """Repeat the long sample until it lasts so many seconds."""
    _, pcm = wavfile.read(SAMPLES / "long.wav")
    return np.asarray(np.resize(pcm, int(seconds * SAMPLE_RATE_HZ)), np.int16)


def webm(pcm: Pcm) -> bytes:
    """Write WebM with Opus the way a browser streams it: nothing says how long it is."""
    return encode(pcm, "webm", "libopus", rate_hz=48_000, options={"live": "1"}, bit_rate=32_000)


def in_formats(pcm: Pcm) -> dict[str, bytes]:
    """Write one recording in each of the formats people upload."""
    stereo = np.repeat(np.repeat(pcm, 3)[:, None], 2, axis=1)
    return {
        "WAV, 16 kHz mono": wav(pcm),
        "WAV, 48 kHz stereo": wav(stereo, rate_hz=48_000),
        "WAV, 44.1 kHz stereo": encode(pcm, "wav", "pcm_s16le", rate_hz=44_100, layout="stereo"),
        "FLAC": wav(pcm, format="FLAC"),
        "WebM, Opus": webm(pcm),
        "M4A, AAC": encode(pcm, "ipod", "aac", rate_hz=44_100),
        "MP3": encode(pcm, "mp3", "libmp3lame", rate_hz=44_100),
        "Ogg, Vorbis": wav(pcm, format="OGG", subtype="VORBIS"),
        "AMR": encode(pcm, "amr", "libopencore_amrnb", rate_hz=8_000, bit_rate=12_200),
    }
