"""A recording is cut at its pauses into segments a recogniser can take, as far as somebody asks for them."""

import itertools
import time
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
from pocketsphinx import Vad

from refiner.audio import SAMPLE_RATE_HZ, Pcm, decode
from refiner.deadline import Deadline

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


def _rebatch(chunks: Iterable[Pcm], size: int) -> Iterator[Pcm]:
    """Regroup chunks into arrays of exactly `size` samples; only the last may be shorter."""
    rest = np.empty(0, np.int16)
    for chunk in chunks:
        joined = np.concatenate([rest, chunk]) if len(rest) else chunk
        whole = len(joined) - len(joined) % size
        yield from (joined[start : start + size] for start in range(0, whole, size))
        rest = joined[whole:]
    if len(rest):
        yield rest


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
