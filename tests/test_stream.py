"""The event stream over a real gunicorn, read by an SSE client that is not ours."""

import json
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import requests
import sseclient

from refiner.audio import SAMPLE_RATE_HZ, Pcm
from refiner.deadline import Deadline
from tests import upstreams as fakes
from tests.service import Service
from tests.sound import wav
from tests.upstreams import Behaviour, Upstreams

Start = Callable[..., Service]
STREAM = {"Accept": "text/event-stream"}


@contextmanager
def streamed(service: Service, recording: bytes, **form: str) -> Iterator[Iterator[tuple[str, dict[str, object]]]]:
    """Post a recording and hand out the events as they come."""
    files = {"audio": ("a.wav", recording)}
    with requests.post(
        f"{service.url}/upload", files=files, data=form, headers=STREAM, stream=True, timeout=60
    ) as response:
        assert response.status_code == 200
        assert response.headers["Content-Type"].startswith("text/event-stream")
        assert response.headers["Cache-Control"] == "no-store"
        assert response.headers["X-Accel-Buffering"] == "no"
        events = sseclient.SSEClient(response).events()  # type: ignore[arg-type]
        yield ((event.event, json.loads(event.data)) for event in events)


def minutes(blunt: Pcm) -> bytes:
    """Return a recording of about a minute with pauses: several segments."""
    return wav(np.concatenate([blunt, np.zeros(SAMPLE_RATE_HZ // 2, np.int16)] * 14))


def test_the_stream_and_the_json_are_one_answer(shared: Service, shared_upstreams: Upstreams, blunt: Pcm) -> None:
    """The last event is what the JSON would have been, and the deltas add up to its texts."""
    shared_upstreams.google.hears = "send me the report"
    shared_upstreams.chat.says = "Could you please send me the report?"
    with streamed(shared, wav(blunt), tone="friendly") as stream:
        events = list(stream)
    plain = shared.upload(wav(blunt), tone="friendly").json()
    name, answer = events[-1]
    assert name == "output.text.done"
    assert (answer["input"], answer["output"]) == (plain["input"], plain["output"])
    assert answer["meta"].keys() == plain["meta"].keys()  # type: ignore[attr-defined]
    assert all(name == data["type"] for name, data in events)
    for kind, text in (("transcript", plain["input"]), ("output", plain["output"])):
        assert "".join(str(data["delta"]) for name, data in events if name == f"{kind}.text.delta") == text
    assert ("transcript.text.done", plain["input"]) in [(name, data.get("text")) for name, data in events]


def test_first_words_come_before_the_last_segment_is_heard(
    shared: Service, shared_upstreams: Upstreams, blunt: Pcm
) -> None:
    """Nobody stares at a silent window while the end of the recording is still being recognised."""
    shared_upstreams.google.hears = "a few words"
    held = fakes.gate()
    shared_upstreams.google.behave(fakes.ok(), held)
    with streamed(shared, minutes(blunt)) as stream:
        assert next(stream) == ("transcript.text.delta", {"type": "transcript.text.delta", "delta": "a few words"})
        held.release()
        assert list(stream)[-1][0] == "output.text.done"


def test_first_output_words_come_before_the_model_has_finished(
    shared: Service, shared_upstreams: Upstreams, blunt: Pcm
) -> None:
    """The polite version appears as it is written: the first delta is here while the model still has words to send."""
    shared_upstreams.chat.says = "Could you please send me the report as soon as you can?"
    shared_upstreams.chat.always(fakes.slow_stream(0.05))
    with streamed(shared, wav(blunt)) as stream:
        first = next(data for name, data in stream if name == "output.text.delta")
        assert str(first["delta"]) != shared_upstreams.chat.says
        with pytest.raises(TimeoutError):
            shared_upstreams.chat.wait_until_idle(timeout_s=0.01)
        assert list(stream)[-1][1]["output"] == shared_upstreams.chat.says


@pytest.mark.parametrize(("recording", "tone"), [(b"", "polite"), (b"x", "rude")])
def test_checks_before_the_work_keep_their_status(recording: bytes, tone: str, shared: Service) -> None:
    """Who asks wrongly is told by the status, as JSON."""
    answer = shared.upload(recording, headers=STREAM, tone=tone)
    assert answer.status_code == 400
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_limits_keep_their_status(connected: Start, blunt: Pcm) -> None:
    """401, 413 and 429 come before the stream begins."""
    service = connected(RATE_LIMIT="1/minute", API_KEYS="k", MAX_UPLOAD_MB="0.2")

    def ask(data: bytes, key: str) -> int:
        headers = STREAM | {"Authorization": f"Bearer {key}"}
        return service.upload(data, headers=headers).status_code

    assert [ask(b"x", "wrong"), ask(bytes(300_000), "k"), ask(b"x", "k")] == [401, 413, 429]


@pytest.mark.parametrize(
    ("upstream", "behaviour", "code", "heard"),
    [
        ("google", fakes.html(), "transcription_failed", None),
        ("chat", fakes.stream_cut(), "refinement_failed", "send me the report"),
        ("chat", fakes.stream_error(), "refinement_failed", "send me the report"),
        ("chat", fakes.stall(), "refinement_timeout", "send me the report"),
        ("chat", fakes.finish_length(), "refinement_failed", "send me the report"),
    ],
)
def test_a_failure_on_the_way_is_the_last_event(
    upstream: str,
    behaviour: Behaviour,
    code: str,
    heard: str | None,
    shared: Service,
    shared_upstreams: Upstreams,
    blunt: Pcm,
) -> None:
    """After the first event there is no status left to change, so the error is an event, and loses nothing."""
    shared_upstreams.google.hears = "send me the report"
    getattr(shared_upstreams, upstream).always(behaviour)
    with streamed(shared, wav(blunt)) as stream:
        name, data = list(stream)[-1]
    assert (name, data["type"], data["code"], data.get("input")) == ("error", "error", code, heard)


def test_heartbeats_come_while_an_upstream_is_slow(shared: Service, shared_upstreams: Upstreams, blunt: Pcm) -> None:
    """A comment line every second keeps proxies from giving up."""
    held = fakes.gate()
    shared_upstreams.google.always(held)
    with requests.post(
        f"{shared.url}/upload", files={"audio": ("a", wav(blunt))}, headers=STREAM, stream=True, timeout=30
    ) as response:
        assert next(response.iter_lines()).startswith(b":")
        held.release()


@pytest.mark.parametrize("upstream", ["google", "chat"])
def test_a_client_that_goes_away_stops_the_work(
    upstream: str, connected: Start, upstreams: Upstreams, blunt: Pcm
) -> None:
    """Its upstream call is broken off, no further one is made, and its place is free again within seconds."""
    service = connected(MAX_IN_FLIGHT="1")
    stuck = getattr(upstreams, upstream)
    stuck.always(fakes.stall())
    boundary = "b"
    body = f'--{boundary}\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n'.encode()
    body += minutes(blunt) + f"\r\n--{boundary}--\r\n".encode()
    head = f"POST /upload HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nContent-Length: {len(body)}\r\n"
    head += f"Content-Type: multipart/form-data; boundary={boundary}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", service.port)) as leaving:
        leaving.sendall(head.encode() + body)
        before = len(stuck.wait_for(1))
    stuck.wait_until_idle(timeout_s=5)
    assert len(stuck.requests) <= max(before, 4)
    freed_within = Deadline(5)
    while not [line for line in service.log_lines() if line.get("code") == "cancelled"]:
        freed_within.wait(0.02)
    stuck.always(fakes.ok())
    assert service.upload(wav(blunt)).status_code == 200
