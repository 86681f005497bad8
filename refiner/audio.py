"""Any recording becomes 16 kHz mono 16-bit PCM, lazily, cut at pauses into segments a recogniser can take."""

import itertools
import time
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import av
import numpy as np
from numpy.typing import NDArray
from pocketsphinx import Vad
from scipy.io import wavfile

from refiner.deadline import Deadline
from refiner.errors import UndecodableAudio

Pcm = NDArray[np.int16]

SAMPLE_RATE_HZ = 16_000
WHOLE_S = 20.0
"""A recording up to this long is one segment; the pieces of a longer one are never longer than this."""
SHORTEST_PIECE_S = 10.0
LONGEST_SILENCE_S = 1.0
"""Longer silences inside a long recording are shortened to this before it is cut."""

_FRAME = SAMPLE_RATE_HZ * 30 // 1000
_WINDOW = 32 * _FRAME
_VOICED_FRAMES = 4
_QUIET_FRAMES = 10
_VAD_MODE = 2
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


@dataclass(frozen=True)
class Segment:
    """A piece of a recording: `pcm` is 16 kHz mono, int16, shape (samples,)."""

    pcm: Pcm

    @property
    def duration_s(self) -> float:
        """Return its length in seconds."""
        return len(self.pcm) / SAMPLE_RATE_HZ


class Recording:
    """A recording that is decoded only as far as its segments are asked for; memory does not grow with its length.

    `decoded_s` counts the seconds decoded so far, `decoding_s` what that took; `cut_off` is true once `max_audio_s`
    ended the listening early.
    """

    def __init__(self, file: BinaryIO, *, max_audio_s: float, deadline: Deadline) -> None:
        self._file = file
        self._max_samples = int(max_audio_s * SAMPLE_RATE_HZ)
        self._deadline = deadline
        self._samples = 0
        self.cut_off = False
        self.decoding_s = 0.0

    @property
    def decoded_s(self) -> float:
        """Return how many seconds of the recording have been decoded so far."""
        return self._samples / SAMPLE_RATE_HZ

    def segments(self) -> Iterator[Segment]:
        """Yield the segments in which somebody may be speaking, in order, each at most WHOLE_S long.

        Raises UndecodableAudio when there is no sound in the file, DeadlineExceeded and Cancelled.
        """
        windows = self._windows()
        head = _take(windows, int(WHOLE_S * SAMPLE_RATE_HZ))
        rest = next(windows, None)
        if rest is None:
            pieces: Iterable[Pcm] = [np.concatenate(head)] if head else []
        else:
            pieces = _cut(_shorten_silences(itertools.chain(head, [rest], windows)))
        yield from (Segment(piece) for piece in pieces if _has_voice(piece))

    def _windows(self) -> Iterator[Pcm]:
        windows = _rebatch(decode(self._file), _WINDOW)
        while True:
            started = time.perf_counter()
            window = next(windows, None)
            self.decoding_s += time.perf_counter() - started
            self._deadline.check()
            if window is None:
                return
            if self._samples >= self._max_samples:
                self.cut_off = True
                return
            self._samples += len(window)
            yield window


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
    blocks = (samples[start : start + rate_hz] for start in range(0, len(samples), rate_hz))
    if rate_hz == SAMPLE_RATE_HZ and channels == 1 and samples.dtype == np.int16:
        return (np.asarray(block) for block in blocks)
    frames = (_frame(_mono(block), rate_hz) for block in blocks)
    return _resample(frames)


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


def _rebatch(chunks: Iterable[Pcm], size: int) -> Iterator[Pcm]:
    """Regroup chunks into arrays of exactly `size` samples; only the last may be shorter."""
    pending: list[Pcm] = []
    samples = 0
    for chunk in chunks:
        if not len(chunk):
            continue
        pending.append(chunk)
        samples += len(chunk)
        if samples >= size:
            joined = np.concatenate(pending) if len(pending) > 1 else pending[0]
            whole = samples - samples % size
            yield from np.split(joined[:whole], whole // size)
            pending, samples = [joined[whole:]], samples - whole
    if samples:
        yield np.concatenate(pending)


def _take(windows: Iterator[Pcm], samples: int) -> list[Pcm]:
    taken: list[Pcm] = []
    while samples > 0 and (window := next(windows, None)) is not None:
        taken.append(window)
        samples -= len(window)
    return taken


def _voiced(vad: Vad, window: Pcm) -> Iterator[tuple[Pcm, bool]]:
    """Pair each whole 30 ms frame with the WebRTC detector's verdict."""
    whole = len(window) - len(window) % _FRAME
    for start in range(0, whole, _FRAME):
        frame = window[start : start + _FRAME]
        yield frame, vad.is_speech(frame.tobytes())


def _has_voice(pcm: Pcm) -> bool:
    voiced = (frame for frame, is_voiced in _voiced(_new_vad(), pcm) if is_voiced)
    return sum(1 for _ in itertools.islice(voiced, _VOICED_FRAMES)) == _VOICED_FRAMES


def _new_vad() -> Vad:
    return Vad(_VAD_MODE, SAMPLE_RATE_HZ, _FRAME / SAMPLE_RATE_HZ)


def _shorten_silences(windows: Iterable[Pcm]) -> Iterator[Pcm]:
    """Drop the middle of every silence longer than LONGEST_SILENCE_S; half of that stays at either side."""
    vad = _new_vad()
    margin = int(LONGEST_SILENCE_S / 2 * SAMPLE_RATE_HZ) // _FRAME
    before: deque[Pcm] = deque(maxlen=margin)
    silent = 0
    for window in windows:
        kept: list[Pcm] = []
        for frame, is_voiced in _voiced(vad, window):
            if is_voiced:
                kept += [*before, frame]
                before.clear()
                silent = 0
            elif silent < margin:
                kept.append(frame)
                silent += 1
            else:
                before.append(frame)
        if kept:
            yield np.concatenate(kept)


def _cut(windows: Iterable[Pcm]) -> Iterator[Pcm]:
    """Cut a long recording at its quietest moments into pieces of SHORTEST_PIECE_S to WHOLE_S."""
    shortest, longest = int(SHORTEST_PIECE_S * SAMPLE_RATE_HZ), int(WHOLE_S * SAMPLE_RATE_HZ)
    pending = np.empty(0, np.int16)
    for window in windows:
        pending = np.concatenate([pending, window])
        if len(pending) >= longest:
            cut = shortest + _quietest(pending[shortest:longest])
            yield pending[:cut]
            pending = pending[cut:]
    if len(pending):
        yield pending


def _quietest(pcm: Pcm) -> int:
    """Return the sample in the middle of the quietest 300 ms."""
    frames = pcm[: len(pcm) - len(pcm) % _FRAME].reshape(-1, _FRAME).astype(np.float32)
    energy = np.convolve(np.square(frames).mean(axis=1), np.ones(_QUIET_FRAMES), mode="valid")
    return (int(np.argmin(energy)) + _QUIET_FRAMES // 2) * _FRAME
