"""Any recording becomes 16 kHz mono 16-bit PCM, lazily, whatever its container, codec, rate or channels."""

import warnings
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import av
import numpy as np
from numpy.typing import NDArray
from scipy.io import wavfile

from refiner.errors import UndecodableAudio

Pcm = NDArray[np.int16]

SAMPLE_RATE_HZ = 16_000
_MAX_CHANNELS = 64
_RATES_HZ = range(1_000, 768_001)
_MAX_BROKEN_PACKETS = 200

# Only formats that hold sound themselves: no playlists, scripts or session descriptions that name other files or URLs.
_FORMATS = (
    "aac,ac3,aiff,amr,amrnb,amrwb,ape,asf,au,avi,caf,eac3,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,opus,tta,"
    "voc,w64,wav,webm,wv"
)
_OPEN_OPTIONS = {
    "format_whitelist": _FORMATS,
    "protocol_whitelist": "file",
    "enable_drefs": "0",
    "use_absolute_path": "0",
}

# Recorders write odd chunks and sizes; what scipy only warns about, it reads.
warnings.filterwarnings("ignore", category=wavfile.WavFileWarning)


def decode(file: BinaryIO) -> Iterator[Pcm]:
    """Decode a recording of any format, chosen by its content, into chunks of 16 kHz mono int16 samples.

    Raises UndecodableAudio when no sample comes out.
    """
    chunks = _decode_wav(file) or _decode_container(file)
    first = next(chunks, None)
    if first is None:
        raise UndecodableAudio
    yield first
    yield from chunks


def _decode_wav(file: BinaryIO) -> Iterator[Pcm] | None:
    """Decode through scipy, memory-mapped, or return None where scipy or our bounds refuse."""
    file.seek(0)
    if file.read(4) not in {b"RIFF", b"RIFX", b"RF64"}:
        return None
    try:
        rate_hz, samples = wavfile.read(f"/dev/fd/{file.fileno()}", mmap=True)
    except Exception:  # on broken files scipy raises whatever it stumbles over, UnboundLocalError included
        return None
    channels = samples.shape[1] if samples.ndim == 2 else 1
    if not len(samples) or rate_hz not in _RATES_HZ or channels > _MAX_CHANNELS:
        return None
    if rate_hz == SAMPLE_RATE_HZ and channels == 1 and samples.dtype == np.int16:
        return iter([np.asarray(samples)])  # mapped, not read: whoever slices it reads that much
    blocks = (samples[start : start + rate_hz] for start in range(0, len(samples), rate_hz))
    return _resample(_frame(_mono(block), rate_hz) for block in blocks)


def _mono(block: NDArray[Any]) -> NDArray[np.float32]:
    """Mix samples of any width, shape (samples,) or (samples, channels), down to float32 in -1 to 1."""
    mixed = block.mean(axis=1, dtype=np.float64) if block.ndim == 2 else block.astype(np.float64)
    if block.dtype.kind == "u":
        mixed = (mixed - 128) / 128
    elif block.dtype.kind == "i":
        mixed = mixed / 2.0 ** (8 * block.dtype.itemsize - 1)
    mono: NDArray[np.float32] = np.clip(np.nan_to_num(mixed), -1, 1).astype(np.float32)
    return mono


def _frame(mono: NDArray[np.float32], rate_hz: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(mono.reshape(1, -1), format="flt", layout="mono")
    frame.sample_rate = rate_hz
    return frame


def _decode_container(file: BinaryIO) -> Iterator[Pcm]:
    """Decode through FFmpeg; damaged packets are passed over, damage that never ends stops the decoding."""
    file.seek(0)
    try:
        with av.open(file, mode="r", options=_OPEN_OPTIONS, metadata_errors="ignore") as container:
            yield from _resample(_decoded_frames(container))
    except (av.FFmpegError, ValueError, OverflowError, MemoryError) as error:
        raise UndecodableAudio from error


def _decoded_frames(container: av.container.InputContainer) -> Iterator[av.AudioFrame]:
    stream = next((stream for stream in container.streams.audio if stream.codec_context is not None), None)
    if stream is None:
        raise UndecodableAudio
    stream.codec_context.thread_count = 1
    broken = 0
    for packet in _packets(container, stream):
        try:
            frames = packet.decode()
        except av.FFmpegError:
            frames, broken = [], broken + 1
        if broken > _MAX_BROKEN_PACKETS:
            return
        yield from (frame for frame in frames if _is_sane(frame))


def _packets(container: av.container.InputContainer, stream: av.AudioStream) -> Iterator["av.Packet[av.AudioStream]"]:
    """Yield packets until the file ends or breaks off; what came before a break is still worth hearing."""
    packets = container.demux(stream)
    while True:
        try:
            yield next(packets)
        except (StopIteration, av.FFmpegError):
            return


def _is_sane(frame: av.AudioFrame) -> bool:
    return frame.sample_rate in _RATES_HZ and 0 < frame.layout.nb_channels <= _MAX_CHANNELS and frame.samples > 0


def _resample(frames: Iterable[av.AudioFrame]) -> Iterator[Pcm]:
    """Turn frames of any format into 16 kHz mono int16; a format that changes midway starts a new resampler."""
    resampler, resampled_format = None, None
    for frame in frames:
        frame.pts = None
        frame_format = frame.format.name, frame.layout.name, frame.sample_rate
        if frame_format != resampled_format:
            yield from _resampled(resampler, None)
            resampler = av.AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)
            resampled_format = frame_format
        yield from _resampled(resampler, frame)
    yield from _resampled(resampler, None)


def _resampled(resampler: av.AudioResampler | None, frame: av.AudioFrame | None) -> Iterator[Pcm]:
    if resampler is not None:
        yield from (resampled.to_ndarray()[0] for resampled in resampler.resample(frame))
