"""Calls to other people's servers: pooled connections, total deadlines, one retry, failures translated once."""

import contextlib
import json
import random
from collections.abc import Callable, Iterator, Mapping
from typing import TypeVar

import urllib3

from refiner.deadline import Deadline
from refiner.errors import EngineError
from refiner.settings import Settings
from refiner.telemetry import log
from refiner.transport import Call, Transport

LONGEST_WAIT_S = 3.0
LARGEST_REPLY_BYTES = 2_000_000
_BACKOFF_S = (0.2, 0.5)
_CHUNK_BYTES = 65_536
T = TypeVar("T")

_TRANSIENT_STATUSES = {408, 409, 425, 429}


def retried(attempt: Callable[[], T], deadline: Deadline) -> T:
    """Call `attempt`, and once more after a short wait when it failed in a way that may pass.

    Raises EngineError, DeadlineExceeded and Cancelled.
    """
    try:
        return attempt()
    except EngineError as error:
        backoff_s = random.uniform(*_BACKOFF_S)  # noqa: S311  # spreads retries out, guards no secret
        wait_s = backoff_s if error.retry_after_s is None else error.retry_after_s
        if not error.transient or wait_s > min(LONGEST_WAIT_S, deadline.remaining_s):
            raise
        deadline.wait(wait_s)
    return attempt()


def bearer(api_key: str) -> dict[str, str]:
    """Return the header that shows a key, or none where there is no key to show."""
    return {"Authorization": f"Bearer {api_key}"} if api_key else {}


class Upstream:
    """One server that is called over HTTP; `name` is what people read in messages about it.

    Each call raises EngineError when the server could not be reached, said no, or did not answer within `timeout_s`
    or the request's deadline; every foreign exception ends here.
    """

    def __init__(
        self, name: str, base_url: str, *, timeout_s: float, connections: int, secrets: tuple[str, ...]
    ) -> None:
        self.name = name
        self._transport = Transport(base_url, connections=connections)
        self._timeout_s = timeout_s
        self._secrets = secrets
        self._alarmed = False

    @classmethod
    def configured(cls, name: str, base_url: str, settings: Settings) -> "Upstream":
        """Make the client for a server as the settings say."""
        return cls(
            name,
            base_url,
            timeout_s=settings.upstream_timeout_s,
            connections=settings.threads,
            secrets=settings.secrets,
        )

    def post(self, url: str, deadline: Deadline, *, headers: Mapping[str, str], body: bytes) -> bytes:
        """Send one POST and return the body of its 2xx reply."""
        with self.open(url, deadline, headers=headers, body=body) as chunks:
            return b"".join(chunks)

    @contextlib.contextmanager
    def open(
        self, url: str, deadline: Deadline, *, headers: Mapping[str, str], body: bytes
    ) -> Iterator[Iterator[bytes]]:
        """Send one POST and hand out its 2xx reply as an iterator of byte chunks as they arrive."""
        time_left, call = Deadline(deadline.allow_s(self._timeout_s)), Call()
        with (
            self._translated(),
            deadline.interrupting(call.interrupt),
            self._transport.post(
                url, headers=headers, body=body, timeout_s=time_left.remaining_s, call=call
            ) as response,
        ):
            if not 200 <= response.status < 300:
                raise self._refusal(response, b"".join(self._chunks(response, time_left, deadline)))
            yield self._chunks(response, time_left, deadline)

    def _chunks(self, response: urllib3.BaseHTTPResponse, time_left: Deadline, deadline: Deadline) -> Iterator[bytes]:
        total = 0
        while chunk := response.read1(_CHUNK_BYTES, decode_content=True):
            total += len(chunk)
            if total > LARGEST_REPLY_BYTES:
                raise EngineError(f"{self.name} sent an answer that is too long.")
            yield chunk
            deadline.check()
            if not time_left.remaining_s:
                raise self._late()

    @contextlib.contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (urllib3.exceptions.ReadTimeoutError, TimeoutError) as error:
            raise self._late() from error
        except urllib3.exceptions.ConnectTimeoutError as error:
            refused = isinstance(error, urllib3.exceptions.NewConnectionError)  # which urllib3 derives from it
            message = "could not be reached" if refused else "could not be reached in time"
            raise EngineError(f"{self.name} {message}.", transient=True, timed_out=not refused) from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise EngineError(f"The connection to {self.name} failed.", transient=True) from error

    def failure(self, what: str) -> EngineError:
        """Return the failure of a server that answered, but not as it should; it may answer better the next time."""
        return EngineError(f"{self.name} {what}.", transient=True)

    def nonsense(self) -> EngineError:
        """Return the failure of a server whose answer has no meaning."""
        return self.failure("sent an answer that makes no sense")

    def _late(self) -> EngineError:
        return EngineError(f"{self.name} did not answer in time.", transient=True, timed_out=True)

    def _refusal(self, response: urllib3.BaseHTTPResponse, body: bytes) -> EngineError:
        status = response.status
        said, code = _error_of(body)
        rejected = status in {401, 403} or code == "model_not_found"
        if rejected and not self._alarmed:
            self._alarmed = True
            log.error("configuration alarm", extra={"upstream": self.name, "status": status, "code": code})
        message = f"{self.name} answered {status}" + (f": {self._redacted(said)}" if said else ".")
        return EngineError(
            message,
            transient=status in _TRANSIENT_STATUSES or status >= 500,
            rejected=rejected,
            retry_after_s=_seconds(response.headers.get("Retry-After")),
        )

    def _redacted(self, message: str) -> str:
        for secret in self._secrets:
            message = message.replace(secret, "***")
        return " ".join(message.split())[:300]


def _error_of(body: bytes) -> tuple[str, str]:
    """Read message and code from an OpenAI-style error envelope, ("", "") where there is none."""
    try:
        error = json.loads(body)["error"]
        return str(error.get("message") or ""), str(error.get("code") or "")
    except (ValueError, LookupError, TypeError, AttributeError):
        return "", ""


def _seconds(retry_after: str | None) -> int | None:
    """Read a Retry-After given in seconds, rounded up; its date form is not used by our upstreams."""
    try:
        return max(0, -int(-float(retry_after) // 1)) if retry_after else None
    except (ValueError, OverflowError):
        return None
