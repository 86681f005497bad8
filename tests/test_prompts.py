import pytest

from refiner.facts import missing_facts
from refiner.prompts import TONES, messages


@pytest.mark.parametrize("tone", TONES)
def test_instructions_and_transcript_are_kept_apart(tone: str) -> None:
    """The system message has the task and the tone, the last user message the transcript and nothing else."""
    chat = messages("send me the report", tone=tone, language="en-US")
    system, transcript = chat[0], chat[-1]
    assert system["role"] == "system"
    assert TONES[tone].instruction in system["content"]
    assert "en-US" in system["content"]
    assert "send me the report" not in system["content"]
    assert transcript["role"] == "user"
    marker, *said, closing = transcript["content"].split("\n")
    assert said == ["send me the report"]
    assert marker == closing


def test_a_transcript_cannot_forge_the_marker() -> None:
    """Every request has a marker of its own that nobody can know beforehand."""
    first, second = (messages("hello")[-1]["content"].split("\n")[0] for _ in range(2))
    assert first != second


def test_examples_show_an_exchange_for_each_known_trap() -> None:
    """Users ask and the assistant rewrites, in turn, an attempt to give orders among them."""
    roles = [message["role"] for message in messages("hello")]
    assert roles == ["system", *["user", "assistant"] * ((len(roles) - 2) // 2), "user"]
    assert any("ignore previous instructions" in message["content"] for message in messages("hello"))


def test_each_tone_has_examples_of_its_own() -> None:
    """The model is shown what the tone sounds like, not only told."""
    answers = {tone: messages("hello", tone=tone)[2]["content"] for tone in TONES}
    assert len(set(answers.values())) == len(TONES)


def test_the_examples_lose_no_fact() -> None:
    """What the model is shown keeps the rules it is given."""
    for tone in TONES:
        _, *shown, _ = messages("hello", tone=tone)
        for asked, answered in zip(shown[::2], shown[1::2], strict=True):
            said = asked["content"].split("\n")[1]
            assert missing_facts(said, answered["content"], language="en") == []
