"""A load on the service from several clients at once, which ends by itself."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import requests

_BETWEEN_S = 0.02


@dataclass(frozen=True)
class Answer:
    """What one request came to, status 0 when its connection broke; the times are monotonic."""

    status: int
    began_at: float
    ended_at: float

    @property
    def elapsed_s(self) -> float:
        """Return how long it took."""
        return self.ended_at - self.began_at


class Load:
    """Clients that each call `post` again and again until the context ends, or `longest_s` have passed."""

    def __init__(self, post: Callable[[], requests.Response], *, clients: int = 4, longest_s: float = 45) -> None:
        self.answers: list[Answer] = []
        self._post = post
        self._ends_at = time.monotonic() + longest_s
        self._stopping = threading.Event()
        self._changed = threading.Condition()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for_more(self, count: int, timeout_s: float = 20) -> None:
        """Wait until so many more requests have begun and been answered from here on."""
        began_at = time.monotonic()
        with self._changed:
            enough = self._changed.wait_for(lambda: len(self.since(began_at)) >= count, timeout_s)
        assert enough, f"waited {timeout_s} s for {count} answers"

    def since(self, moment: float) -> list[Answer]:
        """Return the answers to what was asked after a moment."""
        return [answer for answer in self.answers if answer.began_at >= moment]

    def _run(self) -> None:
        while not self._stopping.wait(_BETWEEN_S) and time.monotonic() < self._ends_at:
            began_at = time.monotonic()
            try:
                status = self._post().status_code
            except requests.ConnectionError:
                status = 0
            with self._changed:
                self.answers.append(Answer(status, began_at, time.monotonic()))
                self._changed.notify_all()
