"""The embedded recogniser: PocketSphinx in processes of its own, so that its decoding never holds up the server."""

import multiprocessing
import threading
from concurrent.futures import BrokenExecutor, CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from functools import cache

from pebble import ProcessExpired, ProcessPool
from pocketsphinx import Decoder

from refiner.deadline import Deadline
from refiner.errors import EngineError

PAUSE_S = 0.4
"""A silence this long between two words ends an utterance."""

_FRAMES_PER_S = 100
_POLL_S = 0.2


class SphinxPool:
    """Processes that each hold the en-US model once; they start with the first utterance and end with this process.

    PocketSphinx holds the interpreter lock while it decodes, which is why threads will not do.
    """

    def __init__(self, processes: int) -> None:
        self.processes = processes
        self._lock = threading.Lock()
        self._pool: ProcessPool | None = None

    def recognize(self, pcm: bytes, deadline: Deadline, *, timeout_s: float) -> tuple[str, ...]:
        """Return the utterances heard in 16 kHz mono 16-bit PCM, split at pauses.

        Raises EngineError when decoding takes longer than `timeout_s` or its process dies, Cancelled and
        DeadlineExceeded as the deadline says. What still waits for a process is withdrawn then; what is being
        decoded is let finish, since a new process costs more than the rest of a segment.
        """
        call = Deadline(deadline.allow_s(timeout_s))
        future = self._started().schedule(decode_utterances, args=(pcm,))
        try:
            while True:
                try:
                    heard: tuple[str, ...] = future.result(timeout=min(_POLL_S, call.remaining_s))
                    return heard
                except FutureTimeoutError as error:
                    deadline.check()
                    if not call.remaining_s:
                        future.cancel()
                        raise EngineError("The embedded recogniser did not answer in time.", timed_out=True) from error
        except (ProcessExpired, BrokenExecutor, CancelledError, RuntimeError) as error:
            raise EngineError("The embedded recogniser stopped unexpectedly.", transient=True) from error
        finally:
            if not future.running():
                future.cancel()

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            if self._pool is not None:
                self._pool.stop()
                self._pool.join()
                self._pool = None

    def _started(self) -> ProcessPool:
        with self._lock:
            if self._pool is None or not self._pool.active:
                context = multiprocessing.get_context("spawn")
                self._pool = ProcessPool(self.processes, initializer=load_decoder, context=context)
            return self._pool


@cache
def load_decoder() -> Decoder:
    """Load the acoustic and language models that come with PocketSphinx; once per process.

    Dither keeps digital silence from being heard as words.
    """
    return Decoder(samprate=16_000.0, loglevel="FATAL", cmn="batch", dither=True, seed=1)


def decode_utterances(pcm: bytes) -> tuple[str, ...]:
    """Decode one segment in this process; nothing of an earlier one carries over."""
    decoder = load_decoder()
    decoder.start_utt()
    decoder.process_raw(pcm, full_utt=True)
    decoder.end_utt()
    return _at_pauses([(entry.word, entry.start_frame, entry.end_frame) for entry in decoder.seg() or ()])


def _at_pauses(entries: list[tuple[str, int, int]]) -> tuple[str, ...]:
    utterances: list[list[str]] = [[]]
    for word, start_frame, end_frame in entries:
        if not word.startswith(("<", "[", "+")):
            utterances[-1].append(word.partition("(")[0])
        elif end_frame - start_frame + 1 >= PAUSE_S * _FRAMES_PER_S:
            utterances.append([])
    return tuple(" ".join(words) for words in utterances if words)
