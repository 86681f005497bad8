import io
import socketserver
import struct
import tempfile
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.io import wavfile

from refiner.audio import SAMPLE_RATE_HZ, Pcm, decode
from refiner.errors import UndecodableAudio
from tests.sound import encode, opened, recording, wav

Writer = Callable[[Pcm], bytes]


def decoded(data: bytes) -> Pcm:
    """Decode a whole recording."""
    return np.concatenate(list(decode(opened(data))))


def correlation(a: Pcm, b: Pcm) -> float:
    """Return the highest normalised cross-correlation of two sounds, whatever the delay between them."""
    x, y = a.astype(np.float64), b.astype(np.float64)
    size = 1 << (len(x) + len(y)).bit_length()
    products = np.fft.irfft(np.fft.rfft(x, size).conj() * np.fft.rfft(y, size))
    return float(products.max() / np.sqrt(np.square(x).sum() * np.square(y).sum()))


def as_type(dtype: str) -> Callable[[Pcm], NDArray[np.generic]]:
    """Scale int16 samples to another width."""
    scaled = {"u1": lambda pcm: (pcm // 256 + 128).astype("u1"), "i4": lambda pcm: pcm.astype("i4") << 16}
    return scaled.get(dtype) or (lambda pcm: (pcm / 32768).astype(dtype))


def riff(
    pcm: Pcm, *, rate_hz: int = SAMPLE_RATE_HZ, byte_rate: int | None = None, size: int | None = None, tag: int = 1
) -> bytes:
    """Write a WAV by hand, so that its header can be wrong."""
    body = pcm.tobytes()
    data_bytes = len(body) if size is None else size
    claimed = rate_hz * 2 if byte_rate is None else byte_rate
    header = struct.pack("<HHIIHH", tag, 1, rate_hz, claimed, 2, 16)
    riff_bytes = 36 + data_bytes if size is None else size
    return (
        b"RIFF" + struct.pack("<I", min(riff_bytes, 0xFFFFFFFF)) + b"WAVEfmt " + struct.pack("<I", 16) + header
        + b"data" + struct.pack("<I", data_bytes) + body
    )  # fmt: skip


def resampled(pcm: Pcm, rate_hz: int) -> Pcm:
    """Change the sample rate by way of a lossless file."""
    times = np.arange(int(len(pcm) * rate_hz / SAMPLE_RATE_HZ)) / rate_hz
    return np.interp(times, np.arange(len(pcm)) / SAMPLE_RATE_HZ, pcm).astype(np.int16)


def spread(pcm: NDArray[np.generic], channels: int) -> NDArray[np.generic]:
    """Put the same sound on every channel."""
    return np.repeat(pcm[:, np.newaxis], channels, axis=1)


_FRAGMENTED = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}

FORMATS: dict[str, Writer] = {
    "wav-u8": lambda pcm: wav(pcm, subtype="PCM_U8"),
    "wav-16": wav,
    "wav-24": lambda pcm: wav(pcm, subtype="PCM_24"),
    "wav-32": lambda pcm: wav(pcm, subtype="PCM_32"),
    "wav-float": lambda pcm: wav(pcm / 32768, subtype="FLOAT"),
    "wav-double": lambda pcm: wav(pcm / 32768, subtype="DOUBLE"),
    "wav-8000": lambda pcm: wav(resampled(pcm, 8000), rate_hz=8000),
    "wav-44100": lambda pcm: wav(resampled(pcm, 44100), rate_hz=44100),
    "wav-48000": lambda pcm: wav(resampled(pcm, 48000), rate_hz=48000),
    "wav-96000": lambda pcm: wav(resampled(pcm, 96000), rate_hz=96000),
    "wav-stereo": lambda pcm: wav(spread(pcm, 2)),
    "wav-5.1": lambda pcm: encode(pcm, "wav", "pcm_s16le", layout="5.1"),
    "wav-12-channels": lambda pcm: wav(spread(pcm, 12)),
    "wav-extensible": lambda pcm: wav(spread(pcm, 2), format="WAVEX", subtype="PCM_24"),
    "wav-mulaw": lambda pcm: wav(pcm, subtype="ULAW"),
    "wav-alaw": lambda pcm: wav(pcm, subtype="ALAW"),
    "wav-adpcm-ms": lambda pcm: wav(pcm, subtype="MS_ADPCM"),
    "wav-adpcm-ima": lambda pcm: wav(pcm, subtype="IMA_ADPCM"),
    "wav-gsm": lambda pcm: wav(resampled(pcm, 8000), rate_hz=8000, subtype="GSM610"),
    "wav-big-endian": lambda pcm: wav(pcm, endian="BIG"),
    "wav-wrong-byte-rate": lambda pcm: riff(pcm, byte_rate=SAMPLE_RATE_HZ * 4),
    "wav-unknown-size-0": lambda pcm: riff(pcm, size=0),
    "wav-unknown-size-max": lambda pcm: riff(pcm, size=0xFFFFFFFF),
    "rf64": lambda pcm: encode(pcm, "wav", "pcm_s16le", options={"rf64": "always"}),
    "w64": lambda pcm: wav(pcm, format="W64"),
    "aiff": lambda pcm: wav(pcm, format="AIFF"),
    "aiff-24-stereo": lambda pcm: wav(spread(pcm, 2), format="AIFF", subtype="PCM_24"),
    "caf": lambda pcm: wav(pcm, format="CAF"),
    "caf-alac": lambda pcm: wav(pcm, format="CAF", subtype="ALAC_16"),
    "au": lambda pcm: wav(pcm, format="AU"),
    "flac": lambda pcm: wav(pcm, format="FLAC"),
    "flac-24-96k-stereo": lambda pcm: wav(
        spread(resampled(pcm, 96000), 2), rate_hz=96000, format="FLAC", subtype="PCM_24"
    ),
    "mp3": lambda pcm: encode(pcm, "mp3", "libmp3lame", rate_hz=44100, layout="stereo", bit_rate=128000),
    "ogg-vorbis": lambda pcm: wav(pcm, format="OGG", subtype="VORBIS"),
    "ogg-opus": lambda pcm: encode(pcm, "ogg", "libopus", rate_hz=48000),
    "webm-opus": lambda pcm: encode(pcm, "webm", "libopus", rate_hz=48000),
    "webm-opus-live": lambda pcm: encode(pcm, "webm", "libopus", rate_hz=48000, layout="stereo", options={"live": "1"}),
    "mp4-aac": lambda pcm: encode(pcm, "mp4", "aac", rate_hz=44100, layout="stereo"),
    "mp4-aac-fragmented": lambda pcm: encode(pcm, "mp4", "aac", rate_hz=48000, options=_FRAGMENTED),
    "mp4-opus-fragmented": lambda pcm: encode(pcm, "mp4", "libopus", rate_hz=48000, options=_FRAGMENTED),
    "m4a-aac": lambda pcm: encode(pcm, "ipod", "aac", rate_hz=44100),
    "m4a-alac": lambda pcm: encode(pcm, "ipod", "alac", rate_hz=44100),
    "adts-aac": lambda pcm: encode(pcm, "adts", "aac", rate_hz=44100),
    "3gp-amr": lambda pcm: encode(pcm, "3gp", "libopencore_amrnb", rate_hz=8000, bit_rate=12200),
    "amr": lambda pcm: encode(pcm, "amr", "libopencore_amrnb", rate_hz=8000, bit_rate=12200),
    "3gp-aac": lambda pcm: encode(pcm, "3gp", "aac", rate_hz=16000),
    "matroska-flac": lambda pcm: encode(pcm, "matroska", "flac"),
}  # fmt: skip

LEAST_CORRELATION = {"wav-8000": 0.9, "wav-gsm": 0.9, "3gp-amr": 0.5, "amr": 0.5}
"""Nothing above 4 kHz is left in these; AMR keeps the voice rather than its wave."""


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_people_record_is_heard_alike(name: str, blunt: Pcm) -> None:
    """Length and sound survive each container, codec, width, rate and channel count."""
    pcm = decoded(FORMATS[name](blunt))
    assert pcm.dtype == np.int16
    assert len(pcm) == pytest.approx(len(blunt), rel=0.02)
    assert correlation(blunt, pcm) > LEAST_CORRELATION.get(name, 0.98)


@pytest.mark.parametrize("dtype", ["u1", "i4", "f4", "f8"])
def test_loudness_is_the_same_for_every_width(dtype: str, blunt: Pcm) -> None:
    """A wider sample is not a louder one."""
    file = io.BytesIO()
    wavfile.write(file, 44100, spread(as_type(dtype)(resampled(blunt, 44100)), 2))
    pcm = decoded(file.getvalue())
    assert np.std(pcm) == pytest.approx(np.std(blunt), rel=0.05)


def test_samples_that_are_no_numbers_become_silence() -> None:
    """A float WAV may hold NaN and infinities."""
    samples = np.full(SAMPLE_RATE_HZ, np.nan, np.float32)
    samples[::2] = 0
    assert not decoded(wav(samples, subtype="FLOAT")).any()


@pytest.mark.parametrize(
    "data",
    [b"", b"x", b"hello, this is a letter and no sound. " * 50, b"RIFF\xff\xff\xff\xffWAVE", bytes(5000), b"OggS" * 500,
     b"\x1aE\xdf\xa3" * 100, b"ID3\x04\x00\x00\xff\xff\xff\xff", b"fLaC" + bytes(100), b"%PDF-1.7\n" + bytes(3000)],
    ids=["empty", "a byte", "text", "riff", "zeros", "ogg", "webm", "mp3", "flac", "pdf"],
)  # fmt: skip
def test_what_is_no_recording_is_refused(data: bytes) -> None:
    """Bytes no decoder makes sound of raise the contract's error."""
    with pytest.raises(UndecodableAudio):
        decoded(data)


@pytest.mark.parametrize(
    "name", ["wav-16", "webm-opus-live", "mp3", "ogg-opus", "flac", "mp4-aac-fragmented", "m4a-aac"]
)
def test_half_a_recording_is_heard_as_far_as_it_goes(name: str, blunt: Pcm) -> None:
    """A file that breaks off yields its first half, or the clear error where its index came last."""
    data = FORMATS[name](blunt)
    try:
        pcm = decoded(data[: len(data) // 2])
    except UndecodableAudio:
        assert name == "m4a-aac"
    else:
        assert 0.2 < len(pcm) / len(blunt) < 0.7


@pytest.mark.parametrize(
    ("rate_hz", "channels", "bits"),
    [
        (0, 1, 16),
        (16000, 0, 16),
        (16000, 65535, 16),
        (1_000_000_000, 1, 16),
        (1, 1, 16),
        (16000, 1, 0),
        (16000, 1, 65535),
    ],
)
def test_lying_headers_do_no_harm(rate_hz: int, channels: int, bits: int, blunt: Pcm) -> None:
    """Impossible rates, channel counts and widths are refused or survived."""
    header = struct.pack("<HHIIHH", 1, channels, rate_hz, 0xFFFFFFFF, channels * bits // 8 % 65536, bits)
    data = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\x00\x00\x00" + header + b"data\xff\xff\xff\xff" + blunt.tobytes()
    try:
        pcm = decoded(data)
    except UndecodableAudio:
        return
    assert len(pcm) < 600 * SAMPLE_RATE_HZ


class _Trap(socketserver.BaseRequestHandler):
    """Notes that somebody connected."""

    def handle(self) -> None:
        """Count the visit."""
        self.server.visits += 1  # type: ignore[attr-defined]


@pytest.fixture
def trap() -> Iterator[socketserver.TCPServer]:
    """A server no decoder may ever contact."""
    with socketserver.TCPServer(("127.0.0.1", 0), _Trap) as server:
        server.visits = 0  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


SCRIPTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{url}\n#EXT-X-ENDLIST\n",
    "hls-file": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nfile://{file}\n#EXT-X-ENDLIST\n",
    "m3u": "#EXTM3U\n{url}\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static"><Period><AdaptationSet '
    'mimeType="audio/mp4"><Representation id="1" bandwidth="1"><BaseURL>{url}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "ffconcat": "ffconcat version 1.0\nfile '{file}'\nfile '{url}'\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio {port} RTP/AVP 0\n",
    "asx": '<asx version="3.0"><entry><ref href="{url}"/></entry></asx>',
    "smil": '<smil><body><audio src="{url}"/></body></smil>',
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_files_that_name_other_files_are_refused_untouched(name: str, trap: socketserver.TCPServer, blunt: Pcm) -> None:
    """Playlists, manifests and session descriptions open no URL and no neighbour."""
    port = trap.server_address[1]
    with tempfile.NamedTemporaryFile(suffix=".wav") as neighbour:
        neighbour.write(wav(blunt))
        neighbour.flush()
        script = SCRIPTS[name].format(url=f"http://127.0.0.1:{port}/a.wav", file=neighbour.name, port=port)
        with pytest.raises(UndecodableAudio):
            decoded(script.encode())
    assert trap.visits == 0  # type: ignore[attr-defined]


def test_an_mp4_that_keeps_its_sound_elsewhere_is_refused_untouched(blunt: Pcm, trap: socketserver.TCPServer) -> None:
    """An external data reference in an MP4 is not followed."""
    data = encode(blunt, "mov", "pcm_s16le")
    with tempfile.NamedTemporaryFile(suffix=".raw") as neighbour:
        neighbour.write(blunt.tobytes())
        neighbour.flush()
        start = data.index(b"dref") - 4
        (size,) = struct.unpack(">I", data[start : start + 4])
        name = neighbour.name.encode()
        reference = struct.pack(">I4sI", 12 + len(name) + 1, b"url ", 0) + name + b"\0"
        dref = struct.pack(">I4sII", 16 + len(reference), b"dref", 0, 1) + reference
        hostile = data[:start] + dref + data[start + size :]
        try:
            pcm = decoded(hostile)
        except UndecodableAudio:
            return
        assert correlation(blunt, pcm) < 0.5


FUZZED = [
    "wav-16", "wav-24", "w64", "aiff", "caf", "flac", "mp3", "ogg-vorbis", "ogg-opus", "webm-opus-live",
    "mp4-aac-fragmented", "m4a-alac", "3gp-amr",
]  # fmt: skip
MUTATION = st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8))


@pytest.fixture(scope="module")
def valid_files(blunt: Pcm) -> dict[str, bytes]:
    """One small valid file of each format."""
    return {name: FORMATS[name](blunt[:8000]) for name in FUZZED}


@pytest.mark.parametrize("name", FUZZED)
@settings(
    max_examples=60,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(mutations=st.lists(MUTATION, max_size=6), keep=st.floats(0.02, 1), head_only=st.booleans())
def test_damaged_files_never_crash(
    name: str, valid_files: dict[str, bytes], mutations: list[tuple[float, bytes]], keep: float, head_only: bool
) -> None:
    """Flipped bytes and cut ends give sound of a sane length or the clear error."""
    data = bytearray(valid_files[name])
    reach = min(len(data), 400) if head_only else len(data)
    for place, replacement in mutations:
        start = int(place * (reach - 1))
        data[start : start + len(replacement)] = replacement
    damaged = bytes(data[: max(1, int(keep * len(data)))])
    heard = recording(damaged, max_audio_s=30)
    try:
        list(heard.segments())
    except UndecodableAudio:
        return
    assert heard.decoded_s <= 31
