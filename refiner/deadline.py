"""How long a request may still take, and whether anybody is still waiting for it."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class DeadlineExceeded(Exception):
    """The request's time is up."""


class Cancelled(Exception):
    """Nobody waits for the answer any more."""


class Deadline:
    """Count one request's time down; thread safe.

    Work asks `check()` before every step that costs something and hands `allow_s()` to whatever can wait.
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.ends_at = clock() + seconds
        self._cancelled = threading.Event()
        self._lock = threading.Lock()
        self._interrupts: list[Callable[[], None]] = []

    @property
    def remaining_s(self) -> float:
        """Return the seconds left, 0.0 once the time is up."""
        return max(0.0, self.ends_at - self._clock())

    def check(self) -> None:
        """Raise Cancelled or DeadlineExceeded when there is no point in going on."""
        if self._cancelled.is_set():
            raise Cancelled
        if not self.remaining_s:
            raise DeadlineExceeded

    def allow_s(self, wanted_s: float) -> float:
        """Return how many seconds a step may take that would like to take `wanted_s`."""
        self.check()
        return min(wanted_s, self.remaining_s)

    def wait(self, seconds: float) -> None:
        """Sleep, but no longer than somebody waits; raises as `check` does."""
        self._cancelled.wait(self.allow_s(seconds))
        self.check()

    def cancel(self) -> None:
        """Let every later `check` raise Cancelled, and interrupt what is waiting now."""
        self._cancelled.set()
        with self._lock:
            for interrupt in self._interrupts:
                interrupt()

    @contextmanager
    def interrupting(self, interrupt: Callable[[], None]) -> Iterator[None]:
        """Within this context a `cancel` calls `interrupt`, from the thread that cancels."""
        with self._lock:
            self._interrupts.append(interrupt)
        try:
            self.check()
            yield
        finally:
            with self._lock:
                self._interrupts.remove(interrupt)
