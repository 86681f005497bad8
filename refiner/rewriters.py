"""The rewriters behind one Protocol: the OpenAI-compatible chat client and the phrasebook."""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from refiner.deadline import Deadline
from refiner.errors import EngineError
from refiner.phrasebook import Phrasebook
from refiner.prompts import messages
from refiner.settings import Settings
from refiner.text import is_no_rewriting, primary_language, tidy_beginning, tidy_reply
from refiner.upstream import Upstream, bearer, retried

MAX_COMPLETION_TOKENS = 2048
"""Room for 100 words and for the reasoning that counts against it."""


class Rewriter(Protocol):
    """Says the same thing politely; used by several threads at once."""

    name: str

    def rewrite(
        self, utterances: Sequence[str], *, tone: str, language: str, deadline: Deadline, live: bool
    ) -> Iterator[str]:
        """Yield the rewritten text, each item the whole of it so far; `live` asks for it as it is written.

        Raises EngineError, DeadlineExceeded or Cancelled.
        """


class PhrasebookRewriter:
    """The embedded rewriter: rules, no model; English only, other languages are left alone."""

    name = "phrasebook"

    def __init__(self, phrasebook: Phrasebook) -> None:
        self._phrasebook = phrasebook

    def rewrite(
        self, utterances: Sequence[str], *, tone: str, language: str, deadline: Deadline, live: bool
    ) -> Iterator[str]:
        """Yield the result at once."""
        deadline.check()
        english = primary_language(language) == "en"
        yield self._phrasebook.polish(utterances, tone=tone) if english else " ".join(utterances)


class ChatRewriter:
    """A language model behind the OpenAI-compatible chat API, Groq's by default."""

    def __init__(self, upstream: Upstream, *, base_url: str, model: str, api_key: str) -> None:
        self.name = model
        self._upstream = upstream
        self._url = base_url.rstrip("/") + "/chat/completions"
        self._headers = {"Content-Type": "application/json"} | bearer(api_key)
        self._parameters = {"model": model, "max_completion_tokens": MAX_COMPLETION_TOKENS}
        self._parameters |= groq_parameters(base_url, model)

    def rewrite(
        self, utterances: Sequence[str], *, tone: str, language: str, deadline: Deadline, live: bool
    ) -> Iterator[str]:
        """Ask the model; an empty or cut-off reply is a failure, never an answer."""
        said, text = " ".join(utterances), ""
        body = self._parameters | {"messages": messages(said, tone=tone, language=language)}
        texts = self._streamed(body, deadline) if live else self._at_once(body, deadline)
        for text in texts:
            yield text
        if is_no_rewriting(said, text):
            raise EngineError(f"{self._upstream.name} did not rewrite what was said. Please try again or rephrase it.")

    def _at_once(self, body: dict[str, Any], deadline: Deadline) -> Iterator[str]:
        yield retried(lambda: self._whole(body, deadline), deadline)

    def _whole(self, body: dict[str, Any], deadline: Deadline) -> str:
        reply = self._upstream.post(self._url, deadline, headers=self._headers, body=_json(body))
        choice = self._first_choice(reply)
        message = choice.get("message")
        content = message.get("content") if isinstance(message, dict) else None
        return self._checked(content, choice.get("finish_reason"))

    def _streamed(self, body: dict[str, Any], deadline: Deadline) -> Iterator[str]:
        """Yield the text so far with every chunk; only a failure before the first one is tried again."""
        shown = ""
        try:
            for shown in self._stream_once(body, deadline):
                yield shown
            return
        except EngineError as error:
            if shown or not error.transient:
                raise
        yield from self._stream_once(body, deadline)

    def _stream_once(self, body: dict[str, Any], deadline: Deadline) -> Iterator[str]:
        content, finish_reason = "", None
        asked = _json(body | {"stream": True})
        with self._upstream.open(self._url, deadline, headers=self._headers, body=asked) as chunks:
            for data in _sse_data(chunks):
                if data == "[DONE]":
                    break
                choice = self._first_choice(data)
                delta = choice.get("delta")
                content += (delta.get("content") or "") if isinstance(delta, dict) else ""
                finish_reason = choice.get("finish_reason") or finish_reason
                if shown := tidy_beginning(content):
                    yield shown
        yield self._checked(content, finish_reason or "nothing")

    def _first_choice(self, reply: bytes | str) -> dict[str, Any]:
        try:
            parsed = json.loads(reply)
            if isinstance(parsed, dict) and "error" in parsed:
                raise self._upstream.failure("broke off with an error")
            choice = parsed["choices"][0]
        except (ValueError, LookupError, TypeError) as error:
            raise self._upstream.nonsense() from error
        if not isinstance(choice, dict):
            raise self._upstream.nonsense()
        return choice

    def _checked(self, content: object, finish_reason: object) -> str:
        if finish_reason not in {"stop", "eos", None}:
            cut_off = finish_reason in {"length", "max_tokens"}
            raise EngineError(
                f"{self._upstream.name} sent a cut-off answer (finish_reason: {finish_reason}).",
                transient=not cut_off,
            )
        text = tidy_reply(content) if isinstance(content, str) else ""
        if not text:
            raise self._upstream.failure("sent an empty answer")
        return text


def groq_parameters(base_url: str, model: str) -> dict[str, Any]:
    """Return what only Groq's servers take (https://console.groq.com/docs/reasoning); nothing for any other."""
    host = urlsplit(base_url).hostname or ""
    if host != "groq.com" and not host.endswith(".groq.com"):
        return {}
    reasoning = {"reasoning_effort": "low", "include_reasoning": False} if "gpt-oss" in model else {}
    return {"temperature": 0.3} | reasoning


def _json(body: dict[str, Any]) -> bytes:
    return json.dumps(body, ensure_ascii=False).encode()


def _sse_data(chunks: Iterator[bytes]) -> Iterator[str]:
    """Yield the data of each server-sent event in a stream of bytes (WHATWG HTML, section 9.2)."""
    pending = b""
    for chunk in chunks:
        *lines, pending = (pending + chunk).split(b"\n")
        for line in lines:
            if line.startswith(b"data:"):
                yield line[5:].decode(errors="replace").strip()


def build_rewriter(settings: Settings) -> Rewriter:
    """Make the rewriter that REWRITER names."""
    if settings.rewriter == "phrasebook":
        return PhrasebookRewriter(Phrasebook.load())
    upstream = Upstream.configured("The language model", settings.llm_base_url, settings)
    return ChatRewriter(
        upstream, base_url=settings.llm_base_url, model=settings.llm_model, api_key=settings.groq_api_key
    )
