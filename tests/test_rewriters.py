import itertools
from typing import Any

import pytest

from refiner.deadline import Deadline
from refiner.errors import EngineError
from refiner.rewriters import MAX_COMPLETION_TOKENS, Rewriter, build_rewriter, groq_parameters
from refiner.settings import Settings
from tests import upstreams as fakes
from tests.upstreams import Behaviour, Upstreams


def model(running: Upstreams, **changes: Any) -> Rewriter:
    """Make the chat rewriter for the fake."""
    settings: dict[str, Any] = {
        "rewriter": "llm",
        "llm_base_url": running.openai_url,
        "upstream_timeout_s": 0.5,
    } | changes
    return build_rewriter(Settings(**settings))


def rewrite(rewriter: Rewriter, *utterances: str, live: bool = False, language: str = "en-US") -> list[str]:
    """Return every text so far."""
    heard = utterances or ("send me", "the report")
    return list(rewriter.rewrite(heard, tone="formal", language=language, deadline=Deadline(30), live=live))


def test_the_model_is_asked_as_the_api_wants_it(upstreams: Upstreams) -> None:
    """Model, messages and a bound on tokens; nothing that only Groq understands goes to another server."""
    upstreams.chat.says = "Could you please send me the report?"
    assert rewrite(model(upstreams, groq_api_key="gsk")) == ["Could you please send me the report?"]
    (request,) = upstreams.chat.requests
    assert request.json.keys() == {"model", "messages", "max_completion_tokens"}
    assert request.json["max_completion_tokens"] == MAX_COMPLETION_TOKENS
    assert "send me the report" in request.json["messages"][-1]["content"]
    assert request.headers["Authorization"] == "Bearer gsk"


def test_a_server_without_a_key_gets_none(upstreams: Upstreams) -> None:
    """Ollama and its like need no authorisation."""
    rewrite(model(upstreams))
    assert "Authorization" not in upstreams.chat.requests[0].headers


@pytest.mark.parametrize(
    ("base_url", "name", "extra"),
    [
        (
            "https://api.groq.com/openai/v1",
            "openai/gpt-oss-120b",
            {"temperature", "reasoning_effort", "include_reasoning"},
        ),
        ("https://api.groq.com/openai/v1", "some/other-model", {"temperature"}),
        ("http://localhost:11434/v1", "gpt-oss:20b", set()),
        ("https://groq.com.example/v1", "openai/gpt-oss-120b", set()),
    ],
)
def test_groqs_own_parameters_go_to_groq_alone(base_url: str, name: str, extra: set[str]) -> None:
    """Other servers answer 400 to what they do not know."""
    assert groq_parameters(base_url, name).keys() == extra


@pytest.mark.parametrize("live", [False, True])
def test_replies_are_tidied(live: bool, upstreams: Upstreams) -> None:
    """Reasoning never reaches the caller, not even in passing."""
    upstreams.chat.says = "Could you please send me the report?"
    upstreams.chat.always(fakes.reasoning("They are impatient."))
    texts = rewrite(model(upstreams), live=live)
    assert texts[-1] == "Could you please send me the report?"
    assert not any("impatient" in text or "think" in text for text in texts)


def test_a_live_reply_grows(upstreams: Upstreams) -> None:
    """Each text so far begins with the one before, and the stream was asked for."""
    upstreams.chat.says = "Could you please send me the report?"
    texts = rewrite(model(upstreams), live=True)
    assert len(texts) > 3
    assert all(longer.startswith(shorter) for shorter, longer in itertools.pairwise(texts))
    assert upstreams.chat.requests[0].json["stream"] is True


BREAKS_OFF = ("truncated", True)  # words were shown by then, see below

FAILURES = {
    "500": fakes.status(500), "429": fakes.status(429), "html": fakes.html(), "empty json": fakes.empty_json(),
    "empty": fakes.empty_body(), "bytes": fakes.nonsense(), "reset": fakes.reset(), "closed": fakes.close(),
    "truncated": fakes.truncated(), "empty content": fakes.empty_content(),
} | {shape: fakes.body(shape) for shape in fakes.WRONG_SHAPES}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "live"), [(name, live) for name in FAILURES for live in (False, True) if (name, live) != BREAKS_OFF]
)
def test_every_failure_is_survived_once_and_told_when_it_lasts(name: str, live: bool, upstreams: Upstreams) -> None:
    """One bad answer costs a retry; bad answers for good are an EngineError, never an empty text."""
    upstreams.chat.says = "Could you please send me the report?"
    upstreams.chat.behave(FAILURES[name])
    assert rewrite(model(upstreams), live=live)[-1] == "Could you please send me the report?"
    upstreams.chat.always(FAILURES[name])
    with pytest.raises(EngineError):
        rewrite(model(upstreams), live=live)
    assert len(upstreams.chat.requests) == 4


LASTING = {"cut off": fakes.finish_length(), "401": fakes.status(401), "400": fakes.status(400)}


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("name", LASTING)
def test_what_another_try_would_not_mend_is_not_tried_again(name: str, live: bool, upstreams: Upstreams) -> None:
    """A reply that was cut off is a failure, never an answer."""
    upstreams.chat.always(LASTING[name])
    with pytest.raises(EngineError):
        rewrite(model(upstreams), live=live)
    assert len(upstreams.chat.requests) == 1


@pytest.mark.parametrize(
    "behaviour", [fakes.stream_cut(), fakes.stream_error(), fakes.truncated()], ids=["cut", "error", "truncated"]
)
def test_a_stream_that_breaks_off_is_a_failure(behaviour: Behaviour, upstreams: Upstreams) -> None:
    """Half an answer is no answer, and what was shown cannot be taken back by another try."""
    upstreams.chat.says = "Could you please send me the report?"
    upstreams.chat.always(behaviour)
    with pytest.raises(EngineError):
        rewrite(model(upstreams), live=True)
    assert len(upstreams.chat.requests) == 1


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("behaviour", [fakes.stall(), fakes.drip(0.02)], ids=["stall", "drip"])
def test_a_model_that_does_not_answer_timed_out(behaviour: Behaviour, live: bool, upstreams: Upstreams) -> None:
    """Silence and trickling end within the timeout of a call."""
    upstreams.chat.always(behaviour)
    with pytest.raises(EngineError) as failed:
        rewrite(model(upstreams), live=live)
    assert failed.value.timed_out


def test_an_unknown_model_is_a_matter_of_configuration(upstreams: Upstreams) -> None:
    """The model's name is wrong until somebody mends it."""
    with pytest.raises(EngineError) as failed:
        rewrite(model(upstreams, llm_model="gone/away"))
    assert failed.value.rejected


def test_the_phrasebook_serves_english_and_leaves_the_rest_alone() -> None:
    """Its rules know one language."""
    phrasebook = build_rewriter(Settings())
    assert phrasebook.name == "phrasebook"
    assert rewrite(phrasebook, "send me the report")[-1] != "send me the report"
    assert rewrite(phrasebook, "mach die tür zu", language="de-DE") == ["mach die tür zu"]


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("said", ["I'm sorry, but I can't assist with that.", "As an AI, I do not write reports."])
def test_a_refusal_is_a_failure(said: str, live: bool, upstreams: Upstreams) -> None:
    """A model that lectures instead of rewriting has failed."""
    upstreams.chat.says = said
    with pytest.raises(EngineError, match="did not rewrite"):
        rewrite(model(upstreams), live=live)


def test_an_announcement_is_never_shown(upstreams: Upstreams) -> None:
    """Not even while the reply is still being written."""
    upstreams.chat.says = "Sure, here is a polite version: Could you please send me the report?"
    texts = rewrite(model(upstreams), live=True)
    assert texts[-1] == "Could you please send me the report?"
    assert all("here is" not in text for text in texts)
