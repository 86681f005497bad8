import json
import threading
import time
from collections.abc import Callable

import pytest

from refiner.deadline import Cancelled, Deadline, DeadlineExceeded
from refiner.errors import EngineError
from refiner.upstream import Upstream, retried
from tests import upstreams as fakes
from tests.upstreams import Behaviour, Upstreams

KEY = "gsk-s3cret"
JSON = {"Content-Type": "application/json"}
QUESTION = b'{"model": "openai/gpt-oss-20b", "messages": [{"role": "user", "content": "hi"}]}'


def client(url: str, timeout_s: float = 5) -> Upstream:
    """Make a client for the model."""
    return Upstream("The model", url, timeout_s=timeout_s, connections=4, secrets=(KEY,))


def ask(running: Upstreams, deadline: Deadline | None = None, *, timeout_s: float = 5) -> bytes:
    """Ask the model once."""
    url = f"{running.openai_url}/chat/completions"
    return client(url, timeout_s).post(url, deadline or Deadline(30), headers=JSON, body=QUESTION)


TRANSIENT = {
    "500": fakes.status(500), "503": fakes.status(503), "429": fakes.status(429), "reset": fakes.reset(),
    "closed": fakes.close(), "truncated": fakes.truncated(),
}  # fmt: skip
LASTING = {"400": fakes.status(400), "404": fakes.status(404), "302": fakes.redirect("http://127.0.0.1:9/")}


@pytest.mark.parametrize("name", TRANSIENT)
def test_what_may_pass_is_called_transient(name: str, upstreams: Upstreams) -> None:
    """Connection trouble, 429 and 5xx are worth another try."""
    upstreams.chat.always(TRANSIENT[name])
    with pytest.raises(EngineError) as failed:
        ask(upstreams)
    assert failed.value.transient
    assert not failed.value.timed_out


@pytest.mark.parametrize("name", LASTING)
def test_what_will_not_pass_is_not(name: str, upstreams: Upstreams) -> None:
    """Another try of a wrong request would be wrong as well, and redirects are not followed."""
    upstreams.chat.always(LASTING[name])
    with pytest.raises(EngineError) as failed:
        ask(upstreams)
    assert not failed.value.transient
    assert len(upstreams.chat.requests) == 1


@pytest.mark.parametrize("behaviour", [fakes.status(401), fakes.status(403)], ids=["401", "403"])
def test_a_refused_key_is_a_matter_of_configuration(behaviour: Behaviour, upstreams: Upstreams) -> None:
    """Somebody has to change something before it can work."""
    upstreams.chat.always(behaviour)
    with pytest.raises(EngineError) as failed:
        ask(upstreams)
    assert failed.value.rejected


@pytest.mark.parametrize("behaviour", [fakes.stall(), fakes.drip(0.02)], ids=["stall", "drip"])
def test_an_answer_has_a_total_time(behaviour: Behaviour, upstreams: Upstreams) -> None:
    """Neither silence nor a trickle holds a call longer than it may take."""
    upstreams.chat.always(behaviour)
    started = time.monotonic()
    with pytest.raises(EngineError) as failed:
        ask(upstreams, timeout_s=0.3)
    assert failed.value.timed_out
    assert time.monotonic() - started < 2


def test_a_server_that_is_not_there_is_transient() -> None:
    """Nobody listening today may listen tomorrow."""
    with pytest.raises(EngineError) as failed:
        client("http://127.0.0.1:9/").post("http://127.0.0.1:9/", Deadline(30), headers=JSON, body=QUESTION)
    assert failed.value.transient


def test_messages_never_hold_a_secret_or_an_address(upstreams: Upstreams) -> None:
    """What the server said is shown, shortened, without the key it repeated."""
    envelope = {"error": {"message": f"Invalid API Key {KEY} " + "x" * 1000, "type": "invalid_request_error"}}
    upstreams.chat.always(fakes.status(401, body=json.dumps(envelope)))
    with pytest.raises(EngineError) as failed:
        ask(upstreams)
    assert "Invalid API Key ***" in str(failed.value)
    assert len(str(failed.value)) < 400
    upstreams.chat.always(fakes.reset())
    with pytest.raises(EngineError) as failed:
        ask(upstreams)
    assert "127.0.0.1" not in str(failed.value)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("17", 17), ("0.4", 1), ("0", 0), (None, None), ("Wed, 21 Oct 2026 07:28:00 GMT", None), ("nan", None)],
)
def test_a_named_wait_is_read_in_whole_seconds(header: str | None, seconds: int | None, upstreams: Upstreams) -> None:
    """Fractions are rounded up and what is no number is ignored."""
    upstreams.chat.always(fakes.status(429, retry_after=header))
    with pytest.raises(EngineError) as failed:
        ask(upstreams)
    assert failed.value.retry_after_s == seconds


def test_connections_are_kept(upstreams: Upstreams) -> None:
    """The second call finds the first one's connection."""
    one = client(upstreams.openai_url)
    for _ in range(3):
        one.post(f"{upstreams.openai_url}/chat/completions", Deadline(30), headers=JSON, body=QUESTION)
    assert len({request.connection for request in upstreams.chat.requests}) == 1


def test_a_cancelled_call_ends_at_once(upstreams: Upstreams) -> None:
    """Nobody waits for an answer nobody will read."""
    upstreams.chat.always(fakes.stall())
    deadline = Deadline(60)

    def leave() -> None:
        upstreams.chat.wait_for(1)
        deadline.cancel()

    leaving = threading.Thread(target=leave)
    leaving.start()
    started = time.monotonic()
    with pytest.raises(Cancelled):
        retried(lambda: ask(upstreams, deadline, timeout_s=30), deadline)
    leaving.join()
    assert time.monotonic() - started < 5
    assert len(upstreams.chat.requests) == 1


def failing(*errors: EngineError) -> tuple[list[float], Callable[[], str]]:
    """Return a log of attempts and an attempt that raises these, then succeeds."""
    attempts: list[float] = []

    def attempt() -> str:
        attempts.append(time.monotonic())
        if len(attempts) <= len(errors):
            raise errors[len(attempts) - 1]
        return "done"

    return attempts, attempt


@pytest.mark.parametrize(
    ("error", "tries"),
    [(EngineError("x", transient=True), 2), (EngineError("x"), 1),
     (EngineError("x", transient=True, retry_after_s=60), 1),
     (EngineError("x", transient=True, retry_after_s=0), 2)],
    ids=["transient", "lasting", "long wait", "short wait"],
)  # fmt: skip
def test_one_retry_and_only_where_it_helps(error: EngineError, tries: int) -> None:
    """A transient failure is tried once more after a short wait; any other, and a long wait, is not."""
    attempts, attempt = failing(error, error)
    with pytest.raises(EngineError):
        retried(attempt, Deadline(30))
    assert len(attempts) == tries


def test_a_retry_that_succeeds_is_a_success() -> None:
    """A passing failure is survived."""
    _, attempt = failing(EngineError("x", transient=True))
    assert retried(attempt, Deadline(30)) == "done"


def test_there_is_no_retry_without_time() -> None:
    """The request's deadline is everybody's deadline."""
    attempts, attempt = failing(EngineError("x", transient=True))
    with pytest.raises((EngineError, DeadlineExceeded)):
        retried(attempt, Deadline(0.05))
    assert len(attempts) == 1
