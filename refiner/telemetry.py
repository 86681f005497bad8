"""What one request leaves behind: an id, a timing header and one log line; never a transcript, never a key."""

import hashlib
import logging
import re
import secrets
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from refiner.deadline import Deadline

_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")

log = logging.getLogger("politeness")


@dataclass
class Exchange:
    """One request from its first byte to its last; `close` gives back what it holds and writes its log line."""

    request_id: str
    method: str
    route: str
    client: str
    deadline: Deadline
    started: float = field(default_factory=time.perf_counter)
    facts: dict[str, Any] = field(default_factory=dict)
    holds: ExitStack = field(default_factory=ExitStack)
    body_read: bool = False
    streaming: bool = False
    closed: bool = False

    @property
    def elapsed_ms(self) -> int:
        """Return the milliseconds since the request was taken up."""
        return round((time.perf_counter() - self.started) * 1000)

    def close(self) -> None:
        """End the exchange; only the first call does anything."""
        if not self.closed:
            self.closed = True
            self.holds.close()
            line = {"request_id": self.request_id, "client": self.client, "method": self.method, "route": self.route}
            log.info("request", extra=line | self.facts | {"ms": self.elapsed_ms})

    def timing_ms(self) -> dict[str, int]:
        """Return the steps timed so far, or the time since the start where there were none."""
        return self.facts.get("timing_ms") or {"total": self.elapsed_ms}


def request_id(proposed: str | None) -> str:
    """Return the caller's own id if it is a sane one, else a new one."""
    return proposed if proposed and _SANE_ID.fullmatch(proposed) else secrets.token_hex(8)


def client_hasher(secret_values: tuple[str, ...]) -> Callable[[str], str]:
    """Return a function that names an address so that clients can be told apart in the log and nobody is identified.

    With a configured secret as its key the name is the same on every instance, else it lasts as long as the process.
    """
    joined = "\0".join(secret_values).encode()
    key = hashlib.blake2s(joined).digest() if joined else secrets.token_bytes(32)
    return lambda address: hashlib.blake2s(address.encode(), key=key, digest_size=6).hexdigest()


def server_timing(timing_ms: Mapping[str, int]) -> str:
    """Format a Server-Timing header (https://www.w3.org/TR/server-timing/)."""
    return ", ".join(f"{step};dur={ms}" for step, ms in timing_ms.items())


class TerminalFormatter(logging.Formatter):
    """One readable line: time, message and the facts as key=value."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record; facts are what `extra` added to it."""
        usual = logging.makeLogRecord({}).__dict__.keys() | {"message", "asctime", "taskName"}
        facts = " ".join(f"{key}={value}" for key, value in record.__dict__.items() if key not in usual)
        return " ".join(filter(None, (super().format(record), facts)))


def configure_logging(level: str) -> None:
    """Log to standard error: readable on a terminal, one JSON object a line elsewhere. Safe to call again."""
    handler = logging.StreamHandler()
    if sys.stderr.isatty():
        handler.setFormatter(TerminalFormatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    else:
        handler.setFormatter(JsonFormatter("{asctime}{levelname}{message}", style="{", rename_fields={"asctime": "at"}))
    log.handlers[:] = [handler]
    log.propagate = False
    log.setLevel(level.upper())
