"""Read the lines of transcripts.toml aloud with flite and write one recording: `synthesise.py blunt.wav`."""

import itertools
import subprocess
import sys
import tempfile
import tomllib
import wave
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

HERE = Path(__file__).parent
SAMPLE_RATE_HZ = 16_000
VOICE = "rms"  # of flite's voices the one PocketSphinx hears best; slt loses a word in every other sentence
PAUSES_S = (0.6, 0.9, 0.75)  # in turn, between sentences: long enough to cut at, uneven as a speaker's are
SILENCE_S = 2.0
NOISE_FLOOR = 3  # standard deviation in 16-bit steps, about -80 dBFS: no real room is digitally silent

Pcm = npt.NDArray[np.int16]


def main(name: str) -> None:
    """Make the recording called name beside this file."""
    said = tomllib.loads((HERE / "transcripts.toml").read_text())[name]["said"]
    pcm = with_noise_floor(read_aloud(said.split("\n")) if said else silence(SILENCE_S))
    write = write_webm if name.endswith(".webm") else write_wav
    write(HERE / name, pcm)


def read_aloud(lines: list[str]) -> Pcm:
    """Speak the lines one after the other with pauses between them."""
    spoken = [speak(line) for line in lines if line]
    pauses = map(silence, itertools.cycle(PAUSES_S))
    parts = [part for pair in zip(spoken, pauses, strict=False) for part in pair]
    return np.concatenate(parts[:-1])


def speak(line: str) -> Pcm:
    """Synthesise one line; flite's rms and slt speak 16 kHz mono."""
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        command = ["flite", "-voice", VOICE, "-t", line, "-o", file.name]
        subprocess.run(command, check=True)  # noqa: S603 - the lines are our own, from transcripts.toml
        with wave.open(file.name, "rb") as spoken:
            return np.frombuffer(spoken.readframes(spoken.getnframes()), dtype="<i2")


def silence(seconds: float) -> Pcm:
    """Return that much of nothing."""
    return np.zeros(round(seconds * SAMPLE_RATE_HZ), dtype=np.int16)


def with_noise_floor(pcm: Pcm) -> Pcm:
    """Lay the noise of a quiet room under the recording, the same noise every time."""
    noise = np.random.default_rng(seed=1).normal(0, NOISE_FLOOR, len(pcm))
    return (pcm + noise).clip(-32768, 32767).astype("<i2")


def write_wav(path: Path, pcm: Pcm) -> None:
    """Write 16 kHz mono 16-bit WAV."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE_HZ)
        file.writeframes(pcm.tobytes())


def write_webm(path: Path, pcm: Pcm) -> None:
    """Write Opus in WebM as a browser's MediaRecorder does: a live stream, no duration in its header."""
    with av.open(str(path), "w", format="webm", options={"live": "1", "fflags": "+bitexact"}) as file:
        stream = file.add_stream("libopus", rate=48_000, layout="mono", options={"b": "32k"})
        frame = av.AudioFrame.from_ndarray(pcm.reshape(1, -1), format="s16", layout="mono")
        frame.sample_rate = SAMPLE_RATE_HZ
        for frame_48k in av.AudioResampler("s16", "mono", 48_000).resample(frame):
            file.mux(stream.encode(frame_48k))
        file.mux(stream.encode(None))


if __name__ == "__main__":
    main(sys.argv[1])
