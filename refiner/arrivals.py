"""Bodies on their way in: cut off when their time is up, and the slowest of them when its place is needed."""

import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from refiner.deadline import Deadline

TOO_SLOW_BYTES_S = 8_000
"""Slower than a phone on a bad line; whoever is, may have to make room for others."""
PATIENCE_S = 2.0
"""How long a body may take before its speed is judged."""
DISCARD_S = 1.0
"""How long the rest of a refused body is waited for, so that its sender can read why it was refused."""
_DISCARD_BYTES = 65_536
_DISCARDED_AT_ONCE = 4
_DISCARD_QUEUE_S = 0.1
# bytes_received in Linux' struct tcp_info (linux/tcp.h), counted since the connection was made.
_BYTES_RECEIVED = struct.Struct("=128xQ")


class Arrival:
    """One body that is being read from its client's connection."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self.sock = sock
        self.deadline = deadline
        self._since = time.monotonic()
        self._received_before = self._bytes_received()

    def speed_bytes_s(self) -> float:
        """Return the bytes received a second so far; fast enough while it is too early to judge or nothing is known."""
        elapsed_s = time.monotonic() - self._since
        if elapsed_s < PATIENCE_S or self._received_before is None:
            return float("inf")
        return ((self._bytes_received() or 0) - self._received_before) / elapsed_s

    def _bytes_received(self) -> int | None:
        try:
            info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_RECEIVED.size)
            (received,) = _BYTES_RECEIVED.unpack(info)
        except (OSError, AttributeError, struct.error):  # not TCP, or not Linux
            return None
        return int(received)


def _cut_off(sock: socket.socket) -> None:
    """End the reading: whoever waits for more sees the end of the body, and can still answer."""
    with suppress(OSError):
        sock.shutdown(socket.SHUT_RD)


class Arrivals:
    """All bodies that this process is reading; one thread, started with the first of them, watches their deadlines."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._arrivals: set[Arrival] = set()
        # Bodies that are there are read in no time; those that stall must not take the threads that are kept spare.
        self._discarding = threading.BoundedSemaphore(_DISCARDED_AT_ONCE)
        self._watcher: threading.Thread | None = None
        self._wakes_at: float | None = None

    @contextmanager
    def expecting(self, environ: dict[str, Any], deadline: Deadline) -> Iterator[None]:
        """While a body is read within this context, cut it off at the deadline."""
        sock = environ.get("gunicorn.socket")
        if sock is None:
            yield
            return
        arrival = Arrival(sock, deadline)
        self._add(arrival)
        try:
            yield
        finally:
            with self._changed:
                self._arrivals.discard(arrival)

    def cut_slowest(self) -> bool:
        """Cut off the slowest body that is too slow, if there is one, and tell whether there was."""
        with self._changed:
            slowest = min(self._arrivals, key=Arrival.speed_bytes_s, default=None)
            if slowest is None or slowest.speed_bytes_s() >= TOO_SLOW_BYTES_S:
                return False
            self._arrivals.discard(slowest)
        _cut_off(slowest.sock)
        return True

    def discard(self, environ: dict[str, Any]) -> None:
        """Read on for a moment after a refusal.

        A connection closed with bytes unread is reset, and the reset may overtake the answer (RFC 9112, section 9.6).
        """
        if not self._discarding.acquire(timeout=_DISCARD_QUEUE_S):
            if sock := environ.get("gunicorn.socket"):
                _cut_off(sock)
            return
        try:
            with self.expecting(environ, Deadline(DISCARD_S)), suppress(OSError):
                while environ["wsgi.input"].read(_DISCARD_BYTES):
                    pass
        finally:
            self._discarding.release()

    def _add(self, arrival: Arrival) -> None:
        with self._changed:
            self._arrivals.add(arrival)
            if self._watcher is None:
                self._watcher = threading.Thread(target=self._watch, name="arrivals", daemon=True)
                self._watcher.start()
            if self._wakes_at is None or arrival.deadline.ends_at < self._wakes_at:
                self._changed.notify()

    def _watch(self) -> None:
        while True:
            with self._changed:
                first = min((arrival.deadline for arrival in self._arrivals), key=lambda one: one.ends_at, default=None)
                self._wakes_at = None if first is None else first.ends_at
                self._changed.wait(None if first is None else first.remaining_s)
                late = {arrival for arrival in self._arrivals if not arrival.deadline.remaining_s}
                self._arrivals -= late
            for arrival in late:
                _cut_off(arrival.sock)
