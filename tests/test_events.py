import json
import threading
from collections.abc import Iterator

import pytest

from refiner.errors import RefinementFailed, RequestFailed
from refiner.events import Event, OutputDelta, OutputDone, TranscriptDelta, TranscriptDone, as_json, as_stream

DONE = OutputDone("hello", "Hello.", {"words": 1})
STEPS: list[Event] = [TranscriptDelta("hello"), TranscriptDone("hello", False), OutputDelta("Hello."), DONE]


class Reader:
    """Reads a stream and notes what it was told."""

    def __init__(self, steps: Iterator[Event]) -> None:
        self.ended, self.left = threading.Event(), threading.Event()
        self.stream = as_stream(
            steps, request_id="id", translate=self.translate, on_end=self.ended.set, on_leave=self.left.set
        )

    def translate(self, error: Exception) -> RequestFailed | None:
        """Pass failures of the contract on and keep quiet about the rest."""
        return error if isinstance(error, RequestFailed) else None

    def events(self) -> list[tuple[str, dict[str, object]]]:
        """Read to the end and return names and data."""
        blocks = b"".join(self.stream).decode().split("\n\n")
        lines = [block.split("\n") for block in blocks if block.startswith("event:")]
        return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in lines]


def failing() -> Iterator[Event]:
    """Fail after the first event."""
    yield STEPS[0]
    raise RefinementFailed("The model is away.", heard="hello")


def test_the_json_answer_is_the_last_event() -> None:
    """One pipeline serves both kinds of answer."""
    assert as_json(iter(STEPS)) == {"input": "hello", "output": "Hello.", "meta": {"words": 1}}


def test_a_stream_holds_every_event_in_order_with_its_type_in_the_data() -> None:
    """Clients may switch on the event's name or on its type."""
    events = Reader(iter(STEPS)).events()
    assert [name for name, _ in events] == [
        "transcript.text.delta", "transcript.text.done", "output.text.delta", "output.text.done",
    ]  # fmt: skip
    assert all(data["type"] == name for name, data in events)
    assert events[-1][1] == {"type": "output.text.done", "input": "hello", "output": "Hello.", "meta": {"words": 1}}


def test_a_failure_is_the_last_event() -> None:
    """What was heard comes with it."""
    reader = Reader(failing())
    name, data = reader.events()[-1]
    assert name == "error"
    assert data == {
        "type": "error", "error": "The model is away.", "code": "refinement_failed", "request_id": "id",
        "input": "hello",
    }  # fmt: skip
    assert reader.ended.is_set()


def test_a_slow_pipeline_is_bridged_by_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    """While nothing happens, comment lines keep the connection alive."""
    monkeypatch.setattr("refiner.events.HEARTBEAT_S", 0.01)
    release = threading.Event()

    def slow() -> Iterator[Event]:
        release.wait(10)
        yield DONE

    reader = Reader(slow())
    assert next(reader.stream).startswith(b":")
    release.set()
    assert reader.events()[-1][0] == "output.text.done"


def test_closing_early_tells_the_pipeline() -> None:
    """Whoever goes away stops the work."""
    reader = Reader(iter(STEPS))
    next(reader.stream)
    assert not reader.left.is_set()
    reader.stream.close()  # type: ignore[attr-defined]
    assert reader.left.is_set()
