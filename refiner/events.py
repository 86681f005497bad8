"""The pipeline's events and how they travel: as one JSON answer or as a stream."""

import json
import queue
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

from refiner.errors import RequestFailed

HEARTBEAT_S = 1.0
"""How long a stream is silent at most; it is by a failing heartbeat that a client's departure is noticed."""

STREAM_TYPE = "text/event-stream"


@dataclass(frozen=True)
class TranscriptDelta:
    """More of the transcript, with the space that separates it from what came before."""

    type: ClassVar[str] = "transcript.text.delta"
    delta: str


@dataclass(frozen=True)
class TranscriptDone:
    """The whole transcript."""

    type: ClassVar[str] = "transcript.text.done"
    text: str
    truncated: bool


@dataclass(frozen=True)
class OutputDelta:
    """More of the polite version, as the model writes it."""

    type: ClassVar[str] = "output.text.delta"
    delta: str


@dataclass(frozen=True)
class OutputDone:
    """The answer, always the last event of a request that succeeds."""

    type: ClassVar[str] = "output.text.done"
    input: str
    output: str
    meta: dict[str, Any]


Event = TranscriptDelta | TranscriptDone | OutputDelta | OutputDone
Steps = Iterator[Event]


def as_json(events: Steps) -> dict[str, Any]:
    """Run the pipeline to its end and return the JSON answer: its last event."""
    *_, answer = events
    return asdict(answer)


def as_stream(
    events: Steps,
    *,
    request_id: str,
    translate: Callable[[Exception], RequestFailed | None],
    on_end: Callable[[], None],
    on_leave: Callable[[], None],
) -> Iterator[bytes]:
    """Yield server-sent events (WHATWG HTML, section 9.2) as the pipeline makes them, in a thread of its own.

    `translate` turns what the pipeline raises into the error to send, or None when nobody is left to read it;
    `on_leave` is called when the reader goes away or is done, `on_end` when the pipeline has ended.
    """
    outbox: queue.SimpleQueue[bytes] = queue.SimpleQueue()

    def run() -> None:
        try:
            for event in events:
                outbox.put(_encode(event.type, asdict(event)))
        except Exception as error:
            if failure := translate(error):
                outbox.put(_encode("error", failure.as_json(request_id)))
        finally:
            on_end()
            outbox.put(b"")

    threading.Thread(target=run, name=f"stream-{request_id}", daemon=True).start()
    return _Stream(outbox, on_leave)


class _Stream:
    """Read the outbox until the pipeline has ended; closing it early tells the pipeline to stop."""

    def __init__(self, outbox: "queue.SimpleQueue[bytes]", on_leave: Callable[[], None]) -> None:
        self._outbox = outbox
        self._on_leave = on_leave

    def __iter__(self) -> "_Stream":
        return self

    def __next__(self) -> bytes:
        try:
            chunk = self._outbox.get(timeout=HEARTBEAT_S)
        except queue.Empty:
            return b": still working\n\n"
        if not chunk:
            raise StopIteration
        return chunk

    def close(self) -> None:
        """Stop; called by the server when the stream is done and when its reader has gone away."""
        self._on_leave()


def _encode(event_type: str, data: dict[str, Any]) -> bytes:
    body = json.dumps({"type": event_type} | data, ensure_ascii=False)
    return f"event: {event_type}\ndata: {body}\n\n".encode()
