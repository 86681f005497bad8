"""Fakes of the two upstreams, Google Web Speech and Groq, that speak their wire formats over real sockets.

    with Upstreams() as up:
        up.google.hears = "send me the report"
        up.chat.behave(status(503), ok())

As a command, for demos and benchmarks: python -m tests.upstreams --hears "..." --says "..." --google-delay 0.3
"""

import argparse
import contextlib
import io
import itertools
import json
import os
import re
import select
import signal
import socket
import socketserver
import struct
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from email.message import Message
from email.parser import BytesHeaderParser
from functools import cached_property
from http.client import responses
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import numpy.typing as npt
import soundfile

JSON = "application/json"
HTML = "text/html; charset=UTF-8"
SAID = "send me the report right now and stop wasting my time"
POLITE = "Could you please send me the report as soon as you can?"
CHAT_MODELS = frozenset({"openai/gpt-oss-120b", "openai/gpt-oss-20b"})
WHISPER_MODELS = frozenset({"whisper-large-v3", "whisper-large-v3-turbo"})
WRONG_SHAPES = ("[]", "null", '"text"', '{"choices": []}', '{"choices": [{"message": {"content": null}}]}')


# What arrives


@dataclass(frozen=True)
class Part:
    """One field of a multipart form."""

    filename: str | None
    content_type: str
    content: bytes

    @property
    def text(self) -> str:
        """Return the field's value."""
        return self.content.decode()


@dataclass(frozen=True)
class Request:
    """One request as it arrived; `arrived_at` is monotonic, `in_flight` counts this one too."""

    method: str
    path: str
    query: dict[str, str]
    headers: Message
    body: bytes
    arrived_at: float
    connection: int
    in_flight: int

    @cached_property
    def json(self) -> Any:
        """Return the body as JSON."""
        return json.loads(self.body)

    @cached_property
    def form(self) -> dict[str, Part]:
        """Return the fields of a multipart body (RFC 7578), none for any other body."""
        boundary = self.headers.get_param("boundary")
        if self.headers.get_content_type() != "multipart/form-data" or not isinstance(boundary, str):
            return {}
        pieces = (b"\r\n" + self.body).split(b"\r\n--" + boundary.encode())
        return dict(_named_part(piece) for piece in pieces[1:-1])

    @property
    def streaming(self) -> bool:
        """Tell whether server-sent events are asked for."""
        return self.headers.get_content_type() == JSON and self.json.get("stream") is True


def _named_part(piece: bytes) -> tuple[str, Part]:
    head, _, content = piece.removeprefix(b"\r\n").partition(b"\r\n\r\n")
    headers = BytesHeaderParser().parsebytes(head)
    name = str(headers.get_param("name", header="content-disposition"))
    return name, Part(headers.get_filename(), headers.get_content_type(), content)


@dataclass(frozen=True)
class Heard:
    """A recording that a recogniser was sent."""

    audio: bytes
    language: str
    headers: Message

    @cached_property
    def info(self) -> Any:
        """Return the header of the audio file; raises soundfile.LibsndfileError for anything else."""
        return soundfile.info(io.BytesIO(self.audio))

    @property
    def sample_rate_hz(self) -> int:
        """Return the sample rate."""
        return int(self.info.samplerate)

    @property
    def seconds(self) -> float:
        """Return the length by the header, which spares the decoding."""
        return float(self.info.frames / self.info.samplerate)

    @cached_property
    def pcm(self) -> npt.NDArray[np.int16]:
        """Return the samples."""
        samples, _ = soundfile.read(io.BytesIO(self.audio), dtype="int16")
        return np.asarray(samples, np.int16)


class _RefusedError(Exception):
    """A request that the real service would not take."""

    def __init__(self, code: int, message: str, error_code: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.error_code = error_code


class _EndedError(Exception):
    """The client hung up, the fake was stopped, or a behaviour broke the connection off."""


class _Latch:
    """An event that poll() can wait for next to a socket; once open it stays open."""

    def __init__(self) -> None:
        self.fd, self._write_fd = os.pipe()
        for fd in (self.fd, self._write_fd):
            weakref.finalize(self, os.close, fd)

    def open(self) -> None:
        """Wake everyone who waits, now and later."""
        os.write(self._write_fd, b"!")


# What an upstream does with a request


class Exchange:
    """One request and the connection its answer goes to; sending and pausing end when the client hangs up."""

    def __init__(self, upstream: "Upstream", request: Request, handler: "_Handler") -> None:
        self.upstream = upstream
        self.request = request
        self._handler = handler
        self._sock = handler.connection

    @property
    def base_url(self) -> str:
        """Return the address of the fakes."""
        return self._handler.server.url

    def answer(self, text: str | None = None, *, finish_reason: str = "stop", between_s: float = 0) -> None:
        """Send what the service sends when all is well; `text` stands in for what it was told to hear or say."""
        parts = self.parts(text, finish_reason=finish_reason)
        if self.request.streaming:
            self.stream(parts, between_s=between_s)
        else:
            self.reply(200, b"".join(parts), content_type=self.upstream.content_type(self.request))

    def parts(self, text: str | None = None, *, finish_reason: str = "stop") -> list[bytes]:
        """Return the body of an answer, in as many parts as a stream has events."""
        said = self.upstream.text(self.request) if text is None else text
        return self.upstream.parts(self.request, said, finish_reason)

    def reply(self, code: int, body: bytes | str, *, content_type: str = JSON, **headers: str) -> None:
        """Send one whole reply in one piece."""
        content = body.encode() if isinstance(body, str) else body
        self.send(_head(code, content_type, Content_Length=str(len(content)), **headers) + content)

    def stream(self, parts: Iterable[bytes], *, between_s: float = 0, whole: bool = True) -> None:
        """Send server-sent events as HTTP chunks; `whole` says whether the last, empty chunk follows."""
        pending = _head(200, "text/event-stream", Transfer_Encoding="chunked", Cache_Control="no-cache")
        for part in parts:
            pending += b"%x\r\n%b\r\n" % (len(part), part)
            if between_s:
                self.send(pending)
                self.pause(between_s)
                pending = b""
        self.send(pending + (b"0\r\n\r\n" if whole else b""))

    def send(self, data: bytes) -> None:
        """Send raw bytes."""
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise self._ended() from error

    def pause(self, seconds: float | None = None, *, until: _Latch | None = None) -> None:
        """Wait for the time to pass or the latch to open; ends the exchange when the client hangs up meanwhile."""
        poll = select.poll()
        latches = {latch.fd for latch in (self._handler.server.stopping, until) if latch}
        for fd in (*latches, self._sock):
            poll.register(fd, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(None if seconds is None else seconds * 1000)}
        if ready - ({until.fd} if until else set()):
            raise self._ended()

    def hang_up(self, *, reset: bool = False) -> None:
        """Close the connection, with a TCP reset on request."""
        if reset:
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._handler.rfile.close()  # the socket stays open for as long as a file of it is
        self._sock.close()
        raise _EndedError

    def _ended(self) -> _EndedError:
        if not self._handler.server.stopped:
            self.upstream.note_hang_up()
        return _EndedError()


def _head(code: int, content_type: str, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {code} {responses.get(code, 'Unknown')}", f"Content-Type: {content_type}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "\r\n"]).encode("latin-1")


class Behaviour:
    """What an upstream does with one request once it has read it; pytest names a test case after `__name__`."""

    def __init__(self, name: str, play: Callable[[Exchange], None]) -> None:
        self.__name__ = name
        self.play = play

    def __repr__(self) -> str:
        return self.__name__


class Gate(Behaviour):
    """Holds every request until it is released; a gate nobody releases holds them until the fakes are stopped."""

    def __init__(self, name: str, then: Behaviour) -> None:
        super().__init__(name, self._hold)
        self._latch = _Latch()
        self._then = then

    def release(self) -> None:
        """Let the requests that wait, and all later ones, continue."""
        self._latch.open()

    def _hold(self, exchange: Exchange) -> None:
        exchange.pause(until=self._latch)
        self._then.play(exchange)


def ok() -> Behaviour:
    """Answer as the real service does."""
    return Behaviour("ok", lambda exchange: exchange.answer())


def gate(then: Behaviour | None = None) -> Gate:
    """Hold requests until `.release()`, then answer."""
    return Gate("gate", then or ok())


def stall() -> Gate:
    """Take the request and stay silent for good."""
    return Gate("stall", ok())


def delay(seconds: float, then: Behaviour | None = None) -> Behaviour:
    """Wait before answering."""
    return delay_by_length(fixed_s=seconds, factor=0, then=then)


def delay_by_length(*, fixed_s: float, factor: float, then: Behaviour | None = None) -> Behaviour:
    """Wait a fixed time and `factor` times the length of the recording before answering."""

    def play(exchange: Exchange) -> None:
        heard = exchange.upstream.heard(exchange.request) if factor else None
        exchange.pause(fixed_s + factor * (heard.seconds if heard else 0))
        (then or ok()).play(exchange)

    return Behaviour(f"delay({fixed_s}, {factor})", play)


def status(
    code: int,
    retry_after: float | str | None = None,
    body: str | None = None,
    content_type: str | None = None,
) -> Behaviour:
    """Refuse with a status, by default with the body the real service sends with it."""

    def play(exchange: Exchange) -> None:
        usual_body, usual_type = exchange.upstream.refusal(code)
        wait = {} if retry_after is None else {"Retry_After": str(retry_after)}
        said = usual_body if body is None else body
        exchange.reply(code, said, content_type=content_type or usual_type, **wait)

    return Behaviour(f"status({code})", play)


def redirect(to: str | None = None) -> Behaviour:
    """Send the client elsewhere, by default to a path whose visitors are kept in `Upstreams.strays`."""

    def play(exchange: Exchange) -> None:
        exchange.reply(302, "", content_type=HTML, Location=to or f"{exchange.base_url}/sorry/index")

    return Behaviour("redirect", play)


def reset() -> Behaviour:
    """Break the connection with a TCP reset instead of an answer."""
    return Behaviour("reset", lambda exchange: exchange.hang_up(reset=True))


def close() -> Behaviour:
    """Close the connection without an answer."""
    return Behaviour("close", lambda exchange: exchange.hang_up())


def truncated() -> Behaviour:
    """Announce a whole answer, send half of it and close the connection."""

    def play(exchange: Exchange) -> None:
        content = b"".join(exchange.parts())
        content_type = exchange.upstream.content_type(exchange.request)
        exchange.send(_head(200, content_type, Content_Length=str(len(content))) + content[: len(content) // 2])
        exchange.hang_up()

    return Behaviour("truncated", play)


def drip(every_s: float = 0.05) -> Behaviour:
    """Send blanks, one at a time, for good: no single read ever times out."""

    def play(exchange: Exchange) -> None:
        content_type = exchange.upstream.content_type(exchange.request)
        exchange.send(_head(200, content_type, Content_Length="1000000"))
        while True:
            exchange.send(b" ")
            exchange.pause(every_s)

    return Behaviour("drip", play)


def body(content: bytes | str, content_type: str = JSON) -> Behaviour:
    """Answer 200 with these bytes; WRONG_SHAPES holds some worth trying."""
    return Behaviour(f"body({content!r})", lambda exchange: exchange.reply(200, content, content_type=content_type))


def empty_body() -> Behaviour:
    """Answer 200 with nothing."""
    return body("")


def empty_json() -> Behaviour:
    """Answer 200 with an empty object."""
    return body("{}")


def nonsense() -> Behaviour:
    """Answer 200 with bytes that are not UTF-8."""
    return body(b"\xff\xfe\x80\x81{\xc3\x28}")


def html() -> Behaviour:
    """Answer 200 with a page that wants to know whether a person is asking."""
    return body("<!DOCTYPE html><html><body><form>Please solve this captcha.</form></body></html>", HTML)


def nothing_heard() -> Behaviour:
    """Answer as the recognisers do when nobody speaks."""
    return Behaviour("nothing_heard", lambda exchange: exchange.answer(""))


def empty_content() -> Behaviour:
    """Answer with no text at all, as a model does that spends its tokens on reasoning."""
    return Behaviour("empty_content", lambda exchange: exchange.answer(""))


def finish_length() -> Behaviour:
    """Answer with half of the text and finish_reason "length"."""

    def play(exchange: Exchange) -> None:
        text = exchange.upstream.text(exchange.request)
        exchange.answer(text[: len(text) // 2], finish_reason="length")

    return Behaviour("finish_length", play)


def reasoning(thought: str = "They sound impatient, so I soften it.") -> Behaviour:
    """Answer with the model's thoughts in front of the text."""

    def play(exchange: Exchange) -> None:
        exchange.answer(f"<think>\n{thought}\n</think>\n\n{exchange.upstream.text(exchange.request)}")

    return Behaviour("reasoning", play)


def slow_stream(between_s: float) -> Behaviour:
    """Pause after each event of a stream."""
    return Behaviour(f"slow_stream({between_s})", lambda exchange: exchange.answer(between_s=between_s))


def stream_cut(*, whole: bool = True) -> Behaviour:
    """End a stream in mid-answer: as if it were whole (no finish_reason, no [DONE]), or by breaking off."""

    def play(exchange: Exchange) -> None:
        parts = exchange.parts()
        exchange.stream(parts[: len(parts) // 2], whole=whole)
        if not whole:
            exchange.hang_up()

    return Behaviour("stream_cut" if whole else "stream_broken", play)


def stream_error() -> Behaviour:
    """Send an error object in the middle of a stream."""

    def play(exchange: Exchange) -> None:
        parts = exchange.parts()
        error, _ = exchange.upstream.refusal(500)
        exchange.stream([*parts[: len(parts) // 2], _event(json.loads(error))])

    return Behaviour("stream_error", play)


# The upstreams


class Upstream:
    """One service: its script, and what was asked of it. Everything here may be used from any thread."""

    path: str
    keep: int | None = None
    """How many of the latest requests are kept to be looked at, from the next reset on; None keeps all."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.reset()

    def reset(self) -> None:
        """Forget every request, behaviour and text."""
        with self._changed:
            self._script: deque[Behaviour] = deque()
            self._default = ok()
            self._requests: deque[Request] = deque(maxlen=self.keep)
            self.arrived = 0
            self._in_flight: set[int] = set()
            self.max_in_flight = 0
            self.hang_ups = 0

    def behave(self, *behaviours: Behaviour) -> None:
        """Script the next requests, one behaviour each; after them the default is back."""
        with self._changed:
            self._script.extend(behaviours)

    def always(self, behaviour: Behaviour) -> None:
        """Make this the default until it is set again or reset."""
        with self._changed:
            self._default = behaviour

    @property
    def requests(self) -> list[Request]:
        """Return the requests so far, in the order of their arrival, refused ones included."""
        with self._changed:
            return list(self._requests)

    def wait_for(self, count: int, timeout_s: float = 5) -> list[Request]:
        """Wait until so many requests have arrived since the last reset."""
        self._wait(lambda: self.arrived >= count, f"{count} requests", timeout_s)
        return self.requests

    def wait_until_idle(self, timeout_s: float = 5) -> None:
        """Wait until no request is being answered."""
        self._wait(lambda: not self._in_flight, "an end of all requests", timeout_s)

    def wait_for_hang_ups(self, count: int, timeout_s: float = 5) -> None:
        """Wait until so many clients have gone away before their answer was complete."""
        self._wait(lambda: self.hang_ups >= count, f"{count} clients to hang up", timeout_s)

    def _wait(self, reached: Callable[[], bool], what: str, timeout_s: float) -> None:
        with self._changed:
            if not self._changed.wait_for(reached, timeout_s):
                counts = f"{self.arrived} requests, {len(self._in_flight)} in flight, {self.hang_ups} hung up"
                raise TimeoutError(f"waited {timeout_s} s for {what} at {self.path}: {counts}")

    def note_hang_up(self) -> None:
        """Count a client that went away."""
        with self._changed:
            self.hang_ups += 1
            self._changed.notify_all()

    def serve(self, method: str, query: dict[str, str], body: bytes, handler: "_Handler") -> None:
        """Record a request, then refuse it as the real service would or do what the script says."""
        request = self._record(method, query, body, handler)
        exchange = Exchange(self, request, handler)
        try:
            self.check(request)
            self._next_behaviour().play(exchange)
        except _RefusedError as refusal:
            content, content_type = self.refusal(refusal.code, refusal.message, refusal.error_code)
            exchange.reply(refusal.code, content, content_type=content_type)
        finally:
            with self._changed:
                self._in_flight.discard(id(request))
                self._changed.notify_all()

    def _record(self, method: str, query: dict[str, str], body: bytes, handler: "_Handler") -> Request:
        with self._changed:
            in_flight = len(self._in_flight) + 1
            now = time.monotonic()
            request = Request(method, self.path, query, handler.headers, body, now, handler.number, in_flight)
            self._requests.append(request)
            self.arrived += 1
            self._in_flight.add(id(request))
            self.max_in_flight = max(self.max_in_flight, in_flight)
            self._changed.notify_all()
            return request

    def _next_behaviour(self) -> Behaviour:
        with self._changed:
            return self._script.popleft() if self._script else self._default

    def check(self, request: Request) -> None:
        """Raise _RefusedError for what the real service would not take."""
        raise NotImplementedError

    def text(self, request: Request) -> str:
        """Return what this upstream was told to hear or say."""
        raise NotImplementedError

    def parts(self, request: Request, text: str, finish_reason: str) -> list[bytes]:
        """Return the body of an answer with this text."""
        raise NotImplementedError

    def content_type(self, request: Request) -> str:
        """Return the type of that body."""
        return JSON

    def heard(self, request: Request) -> Heard | None:
        """Return the recording in a request, if it is one."""
        return None

    def refusal(self, code: int, message: str | None = None, error_code: str | None = None) -> tuple[str, str]:
        """Return the body that goes with an error status, and its type."""
        raise NotImplementedError


class Listener(Upstream):
    """A recogniser: `hears` is what it hears, or a function of what it is sent; "" is nothing."""

    hears: str | Callable[[Heard], str]

    def reset(self) -> None:
        """Forget every request, behaviour and text."""
        super().reset()
        self.hears = SAID

    def text(self, request: Request) -> str:
        """Return what was heard."""
        return self.hears(self.heard(request)) if callable(self.hears) else self.hears

    def heard(self, request: Request) -> Heard:
        """Return the recording."""
        raise NotImplementedError


class Google(Listener):
    """Google Web Speech v2 (http://www.chromium.org/developers/how-tos/api-keys), as SpeechRecognition calls it."""

    path = "/speech-api/v2/recognize"

    def __init__(self, key: str | None = None) -> None:
        super().__init__()
        self.key = key
        self.longest_s = 61.0

    def heard(self, request: Request) -> Heard:
        """Return the recording: the whole body."""
        return Heard(request.body, request.query.get("lang", ""), request.headers)

    def check(self, request: Request) -> None:
        """Take FLAC of at most a minute, at the rate its content type names, with a key and a language."""
        key, heard = request.query.get("key"), self.heard(request)
        if not key or (self.key and key != self.key):
            raise _RefusedError(403, "Your client does not have permission.")
        if not heard.language or request.headers.get_content_type() != "audio/x-flac":
            raise _RefusedError(400, "Bad request.")
        try:
            too_long, rate = heard.seconds > self.longest_s, str(heard.sample_rate_hz)
        except soundfile.LibsndfileError as error:
            raise _RefusedError(400, "Bad audio.") from error
        if too_long or request.headers.get_param("rate") != rate:
            raise _RefusedError(400, "Audio too long, or not of the sample rate announced.")

    def parts(self, request: Request, text: str, finish_reason: str) -> list[bytes]:
        """Return one line that promises, and one that delivers if anything was heard."""
        best = {"transcript": text, "confidence": 0.98}
        found = {"alternative": [best, {"transcript": text.capitalize()}], "final": True}
        replies: list[dict[str, Any]] = [{"result": []}]
        if text:
            replies.append({"result": [found], "result_index": 0})
        return ["".join(f"{json.dumps(reply)}\n" for reply in replies).encode()]

    def refusal(self, code: int, message: str | None = None, error_code: str | None = None) -> tuple[str, str]:
        """Return a page, as Google does."""
        said = message or "That's an error."
        return f"<!DOCTYPE html><html><title>Error {code}</title><p><b>{code}.</b> {said}</html>", HTML


class OpenAI(Upstream):
    """What Groq's two endpoints have in common (https://console.groq.com/docs/errors)."""

    def __init__(self, api_key: str | None = None, models: Iterable[str] = ()) -> None:
        super().__init__()
        self.api_key = api_key
        self.models = frozenset(models)

    def authorize(self, request: Request) -> None:
        """Refuse a wrong key where a key is configured."""
        if self.api_key and request.headers["Authorization"] != f"Bearer {self.api_key}":
            raise _RefusedError(401, "Invalid API Key")

    def check_model(self, model: object) -> None:
        """Refuse a model that is not served."""
        if not model:
            raise _RefusedError(400, "property 'model' is missing")
        if model not in self.models:
            raise _RefusedError(404, f"The model `{model}` does not exist or you do not have access to it.")

    def refusal(self, code: int, message: str | None = None, error_code: str | None = None) -> tuple[str, str]:
        """Return Groq's error envelope."""
        kinds = {429: "tokens"} | dict.fromkeys(range(500, 600), "internal_server_error")
        codes = {401: "invalid_api_key", 404: "model_not_found", 429: "rate_limit_exceeded"}
        error = {"message": message or f"The fake says {code}.", "type": kinds.get(code, "invalid_request_error")}
        known = error_code or codes.get(code)
        return json.dumps({"error": error | ({"code": known} if known else {})}), JSON


class Whisper(OpenAI, Listener):
    """POST /audio/transcriptions (https://console.groq.com/docs/speech-to-text)."""

    path = "/openai/v1/audio/transcriptions"

    def heard(self, request: Request) -> Heard:
        """Return the recording: the form's file."""
        language = request.form.get("language")
        return Heard(request.form["file"].content, language.text if language else "", request.headers)

    def check(self, request: Request) -> None:
        """Take a file with sound in it, a known model, a bare language code and a known response format."""
        self.authorize(request)
        form = request.form
        self.check_model(form["model"].text if "model" in form else None)
        if "file" not in form or not form["file"].content or not form["file"].filename:
            raise _RefusedError(400, "file is empty")
        if "language" in form and not re.fullmatch("[a-z]{2,3}", form["language"].text):
            raise _RefusedError(400, "language must be an ISO 639-1 code")
        if self._format(request) not in {"json", "text", "verbose_json"}:
            raise _RefusedError(400, "response_format must be one of json, text, verbose_json")
        self._check_sound(request)

    def _check_sound(self, request: Request) -> None:
        try:
            seconds = self.heard(request).seconds
        except soundfile.LibsndfileError as error:
            raise _RefusedError(400, "could not process file - is it a valid media file?") from error
        if seconds < 0.01:  # Groq's minimum
            raise _RefusedError(400, "Audio file is too short. Minimum audio length is 0.01 seconds.")

    def _format(self, request: Request) -> str:
        asked = request.form.get("response_format")
        return asked.text if asked else "json"

    def parts(self, request: Request, text: str, finish_reason: str) -> list[bytes]:
        """Return the text in the format asked for; Whisper puts a blank in front."""
        reply: dict[str, Any] = {"text": f" {text}" if text else "", "x_groq": {"id": "req_01fake"}}
        if self._format(request) == "text":
            return [f" {text}\n".encode()]
        if self._format(request) == "verbose_json":
            heard = self.heard(request)
            reply |= {"task": "transcribe", "language": heard.language, "duration": heard.seconds, "segments": []}
        return [json.dumps(reply).encode()]

    def content_type(self, request: Request) -> str:
        """Return the type of the format asked for."""
        return "text/plain; charset=utf-8" if self._format(request) == "text" else JSON


class Chat(OpenAI):
    """POST /chat/completions (https://console.groq.com/docs/api-reference); `says` may be a function of the body."""

    path = "/openai/v1/chat/completions"
    says: str | Callable[[dict[str, Any]], str]
    accepted = frozenset(
        {"model", "messages", "stream", "stream_options", "temperature", "top_p", "max_completion_tokens", "max_tokens",
         "reasoning_effort", "reasoning_format", "include_reasoning", "seed", "stop", "user", "n", "service_tier",
         "response_format"}
    )  # fmt: skip

    def reset(self) -> None:
        """Forget every request, behaviour and text."""
        super().reset()
        self.says = POLITE

    def text(self, request: Request) -> str:
        """Return what the model says."""
        return self.says(request.json) if callable(self.says) else self.says

    def check(self, request: Request) -> None:
        """Take JSON with messages for a known model and no parameter that Groq refuses."""
        self.authorize(request)
        asked = self._object(request)
        self.check_model(asked.get("model"))
        if unknown := asked.keys() - self.accepted:
            raise _RefusedError(400, f"property '{min(unknown)}' is unsupported")
        if not _are_messages(asked.get("messages")):
            raise _RefusedError(400, "'messages' must be a non-empty list of objects with role and content")
        if "gpt-oss" in asked["model"] and asked.get("reasoning_effort", "low") not in {"low", "medium", "high"}:
            raise _RefusedError(400, "`reasoning_effort` must be one of `low`, `medium`, or `high`")
        if "include_reasoning" in asked and "reasoning_format" in asked:
            raise _RefusedError(400, "`include_reasoning` and `reasoning_format` cannot be used together")

    def _object(self, request: Request) -> dict[str, Any]:
        try:
            asked = request.json if request.headers.get_content_type() == JSON else None
        except ValueError:
            asked = None
        if not isinstance(asked, dict):
            raise _RefusedError(400, "the body must be a JSON object")
        return asked

    def parts(self, request: Request, text: str, finish_reason: str) -> list[bytes]:
        """Return one completion, or the events of one: a role, a delta for each word, the reason it ended, [DONE]."""
        asked = request.json
        thought = {} if asked.get("include_reasoning") is False else {"reasoning": "Make it polite."}
        if not request.streaming:
            message = {"role": "assistant", "content": text} | thought
            return [json.dumps(_completion(asked, "chat.completion", finish_reason, message=message)).encode()]
        deltas = [{"role": "assistant", "content": ""}, *([thought] if thought else [])]
        deltas += [{"content": word} for word in re.findall(r"\s*\S+", text)]
        chunks = [_completion(asked, "chat.completion.chunk", None, delta=delta) for delta in deltas]
        chunks.append(_completion(asked, "chat.completion.chunk", finish_reason, delta={}))
        return [*map(_event, chunks), b"data: [DONE]\n\n"]

    def content_type(self, request: Request) -> str:
        """Return the type of a stream or of a completion."""
        return "text/event-stream" if request.streaming else JSON


def _are_messages(messages: object) -> bool:
    return isinstance(messages, list) and bool(messages) and all({"role", "content"} <= set(item) for item in messages)


def _completion(asked: dict[str, Any], kind: str, finish_reason: str | None, **said: Any) -> dict[str, Any]:
    choice = {"index": 0, "logprobs": None, "finish_reason": finish_reason} | said
    completion = {"id": "chatcmpl-fake", "object": kind, "created": int(time.time()), "model": asked["model"]}
    usage = {"prompt_tokens": 80, "completion_tokens": 20, "total_tokens": 100} if finish_reason else None
    return completion | {"choices": [choice], "x_groq": {"id": "req_01fake"}} | ({"usage": usage} if usage else {})


def _event(data: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(data)}\n\n".encode()


# The server


class _Handler(BaseHTTPRequestHandler):
    """One connection, kept open between requests."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: "_Server"

    def setup(self) -> None:
        super().setup()
        self.number = self.server.opened(self.connection)

    def finish(self) -> None:
        try:
            super().finish()
        finally:
            self.server.closed(self.number)

    def do_POST(self) -> None:
        """Read the whole request and hand it to its upstream."""
        length = int(self.headers["Content-Length"] or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        try:
            self.server.upstreams.dispatch(self, body)
        except _EndedError:
            self.close_connection = True

    do_GET = do_POST

    def log_message(self, format: str, *args: Any) -> None:
        """Keep quiet."""


class _Server(ThreadingHTTPServer):
    """A server of many short-lived connections that can be stopped at once."""

    request_queue_size = 512

    def __init__(self, port: int, upstreams: "Upstreams") -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.upstreams = upstreams
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.stopping = _Latch()
        self.stopped = False
        self._numbers = itertools.count(1)
        self._open: dict[int, socket.socket] = {}
        self._changed = threading.Condition()

    def server_bind(self) -> None:
        """Bind without asking a name server what this machine is called."""
        socketserver.TCPServer.server_bind(self)

    def opened(self, connection: socket.socket) -> int:
        """Keep a new connection and return its number."""
        with self._changed:
            number = next(self._numbers)
            self._open[number] = connection
            if self.stopped:
                _break_off(connection)
            return number

    def closed(self, number: int) -> None:
        """Forget a connection."""
        with self._changed:
            del self._open[number]
            self._changed.notify_all()

    def stop(self) -> None:
        """Break off every exchange and wait until nobody is served any more."""
        self.shutdown()
        self.server_close()
        with self._changed:
            self.stopped = True
            self.stopping.open()
            for connection in self._open.values():
                _break_off(connection)
            self._changed.wait_for(lambda: not self._open, timeout=5)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Keep what went wrong in the fake itself, say in a test's own function, for the end of the test."""
        self.upstreams.note_failure()


def _break_off(connection: socket.socket) -> None:
    """Wake whoever reads from the connection or writes to it."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


class Upstreams:
    """Both services on one free port of 127.0.0.1; a context manager, or start() and stop()."""

    def __init__(self, *, api_key: str | None = None, google_key: str | None = None, port: int = 0) -> None:
        self.google = Google(google_key)
        self.whisper = Whisper(api_key, WHISPER_MODELS)
        self.chat = Chat(api_key, CHAT_MODELS)
        self.strays: list[str] = []
        self.failures: list[BaseException] = []
        self._port = port

    @property
    def all(self) -> tuple[Upstream, ...]:
        """Return the three upstreams."""
        return self.google, self.whisper, self.chat

    @property
    def url(self) -> str:
        """Return the address that both services share."""
        return self._server.url

    @property
    def google_url(self) -> str:
        """Return what GOOGLE_SPEECH_URL is set to."""
        return self.url + Google.path

    @property
    def openai_url(self) -> str:
        """Return what LLM_BASE_URL and STT_BASE_URL are set to."""
        return f"{self.url}/openai/v1"

    def start(self) -> Self:
        """Listen; requests are answered from here on."""
        self._server = _Server(self._port, self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)
        self._thread.start()
        return self

    def stop(self) -> None:
        """Break off whatever is going on and close the port."""
        self._server.stop()
        self._thread.join()

    def reset(self) -> None:
        """Start afresh on the same port: no requests, no behaviours, the usual texts."""
        for upstream in self.all:
            upstream.reset()
        self.strays.clear()

    def dispatch(self, handler: _Handler, body: bytes) -> None:
        """Hand a request to the upstream it is for; any other path is a 404."""
        url = urlsplit(handler.path)
        for upstream in self.all:
            if (handler.command, url.path) == ("POST", upstream.path):
                upstream.serve(handler.command, dict(parse_qsl(url.query)), body, handler)
                return
        self.strays.append(f"{handler.command} {handler.path}")
        handler.connection.sendall(_head(404, HTML, Content_Length="0"))

    def note_failure(self) -> None:
        """Keep the exception being handled unless it is a client that went away."""
        error = sys.exception()
        if error and not isinstance(error, ConnectionError):
            self.failures.append(error)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        if self.failures and error is None:
            raise self.failures[0]


def talker(words_per_s: float) -> Callable[[Heard], str]:
    """Return a `hears` that hears so many words in each second of sound."""
    return lambda heard: " ".join(f"word{number}" for number in range(1, round(heard.seconds * words_per_s) + 1))


def main() -> None:
    """Serve until SIGTERM or ^C."""
    parser = argparse.ArgumentParser(description="Fakes of Google Web Speech and Groq on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free one")
    parser.add_argument("--hears", default=SAID)
    parser.add_argument("--words-per-s", type=float, help="hear this many words a second instead of --hears")
    parser.add_argument("--says", default=POLITE)
    parser.add_argument("--google-delay", type=float, default=0, help="seconds before each transcript")
    parser.add_argument("--google-factor", type=float, default=0, help="and so many per second of sound")
    parser.add_argument("--chat-delay", type=float, default=0, help="seconds before each answer")
    options = parser.parse_args()
    ending = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, ending)  # before any thread is started, so that all of them inherit it
    with Upstreams(port=options.port) as up:
        _configure(up, options)
        print(f"GOOGLE_SPEECH_URL={up.google_url}\nLLM_BASE_URL={up.openai_url}", flush=True)
        signal.sigwait(ending)


def _configure(up: Upstreams, options: argparse.Namespace) -> None:
    for upstream in up.all:
        upstream.keep = 0  # a benchmark may send gigabytes
        upstream.reset()
    up.google.hears = up.whisper.hears = talker(options.words_per_s) if options.words_per_s else options.hears
    up.chat.says = options.says
    listening = delay_by_length(fixed_s=options.google_delay, factor=options.google_factor)
    up.google.always(listening)
    up.whisper.always(listening)
    up.chat.always(delay(options.chat_delay))


if __name__ == "__main__":
    main()
