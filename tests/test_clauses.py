"""What a sentence does, clause by clause."""

import tomllib
from itertools import pairwise
from pathlib import Path

import pytest

import refiner.phrasing.clauses
from refiner.phrasing.clauses import Clauses, Tone
from refiner.phrasing.grammar import Grammar
from refiner.phrasing.rules import Patterns
from refiner.phrasing.sentences import Sentence

BOOK = tomllib.loads(
    Path(refiner.phrasing.clauses.__file__).parent.with_name("phrases.toml").read_text(encoding="utf-8")
)
patterns = Patterns(BOOK)
clauses = Clauses(BOOK, patterns, Grammar(BOOK, patterns))
tones = {name: Tone(name, entry, patterns) for name, entry in BOOK["tones"].items()}


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("send it", [("ask", "send it", "")]),
        ("don't send it", [("ask", "not send it", "")]),
        ("send it and stop wasting my time", [("ask", "send it", ""), ("ask", "be considerate of my time", "and")]),
        ("it's raining so take a coat", [("plain", "it's raining", ""), ("ask", "take a coat", "so")]),
        ("if you see him tell him", [("plain", "if you see him", ""), ("ask", "tell him", ",")]),
        ("pay me or i'll leave", [("ask", "pay me", ""), ("plain", "i'll leave", "or")]),
        ("we need to buy bread and clean the car", [("plain", "we need to buy bread and clean the car", "")]),
        ("i won't sit here and listen", [("say", "I'm afraid I won't be able to sit here and listen.", "")]),
        ("could you send it", [("plain", "could you send it", "")]),
        ("could you shut up", [("ask", "be a little quieter", "")]),
        ("have a nice day", [("plain", "have a nice day", "")]),
    ],
)
def test_clauses(text: str, found: list[tuple[str, str, str]]) -> None:
    """Commands are asked, rude statements said otherwise, everything else left as it was."""
    told = clauses.of(Sentence(text), tones["polite"])
    assert [(clause.kind, clause.text, clause.joint) for clause in told] == found


@pytest.mark.parametrize(
    ("text", "lead", "body"),
    [
        ("mike clean your desk", "mike", "clean your desk"),
        ("hey waiter, bring me the bill", "hey waiter", "bring me the bill"),
        ("no stop that", "no", "stop that"),
        ("kids be quiet", "kids", "be a little quieter"),
    ],
)
def test_whoever_is_spoken_to_stays(text: str, lead: str, body: str) -> None:
    """A name or a "no" in front of a command is kept."""
    (clause,) = clauses.of(Sentence(text), tones["polite"])
    assert (clause.kind, clause.lead, clause.text) == ("ask", lead, body)


@pytest.mark.parametrize("text", ["mike put it here", "mike", "hello tom", "kids make a mess", "no"])
def test_a_name_alone_orders_nothing(text: str) -> None:
    """Telling what somebody did is no command."""
    (clause,) = clauses.of(Sentence(text), tones["polite"])
    assert (clause.kind, clause.text, clause.lead) == ("plain", text, "")


def test_plain_clauses_end_as_they_were_heard_to() -> None:
    """The mark heard stays; a question gets its own."""
    ends = [clauses.of(sentence, tones["polite"])[-1].end for sentence in (Sentence("hi", "!"), Sentence("who is it"))]
    assert ends == ["!", "?"]


def test_what_claims_to_be_a_sentence_of_a_thousand_words_is_left_alone() -> None:
    """Nobody speaks so, and searching it would take too long."""
    text = "send it and " * 400 + "send it"
    assert [clause.kind for clause in clauses.of(Sentence(text), tones["polite"])] == ["plain"]


def test_requests_are_varied() -> None:
    """No two requests running are asked in the same words."""
    for tone in tones.values():
        asked = [tone.request(at, "X") for at in range(8)]
        assert all(one != other for one, other in pairwise(asked))
        assert asked[0] not in asked[1:]
