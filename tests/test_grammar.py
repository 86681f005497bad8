"""Commands, questions and statements, told apart by their words."""

import tomllib
from pathlib import Path

import pytest

import refiner.phrasing.grammar
from refiner.phrasing.grammar import Grammar
from refiner.phrasing.rules import Patterns

BOOK = tomllib.loads(
    Path(refiner.phrasing.grammar.__file__).parent.with_name("phrases.toml").read_text(encoding="utf-8")
)
grammar = Grammar(BOOK, Patterns(BOOK))


@pytest.mark.parametrize(
    "text",
    ["send it", "don't move", "do not wait until noon", "never call me again", "stop talking", "call tom", "wait"],
)
def test_commands(text: str) -> None:
    """A clause that begins with a verb orders something."""
    assert grammar.is_command(text)
    assert not grammar.is_question(text)


@pytest.mark.parametrize(
    "text",
    ["stop signs are red", "call quality is bad", "work starts at eight", "turns out it rained", "i send it", "never"],
)
def test_statements_that_look_like_commands(text: str) -> None:
    """A noun that could be a verb orders nothing."""
    assert not grammar.is_command(text)


@pytest.mark.parametrize(
    "text",
    [
        "what time is it",
        "so where is tom",
        "are you there",
        "you're coming aren't you",
        "why",
        "what kind of bird is it",
    ],
)
def test_questions(text: str) -> None:
    """Question words, helpers before their subjects and tags ask."""
    assert grammar.is_question(text)


@pytest.mark.parametrize("text", ["what i want is tea", "how nice of you", "do it", "have a seat", "is"])
def test_what_only_looks_like_a_question(text: str) -> None:
    """The same words ask nothing elsewhere."""
    assert not grammar.is_question(text)


@pytest.mark.parametrize(
    ("doing", "do"),
    [("sending", "send"), ("making", "make"), ("stopping", "stop"), ("lying", "lie"), ("morning", ""), ("send", "")],
)
def test_base_forms(doing: str, do: str) -> None:
    """A verb is found under its -ing."""
    assert grammar.base_form(doing) == do


@pytest.mark.parametrize(
    ("text", "known"),
    [("two men left", True), ("we work", True), ("it's late", True), ("the men at work", False), ("no way", False)],
)
def test_a_complete_thought_has_a_verb(text: str, known: bool) -> None:
    """Nouns that could be verbs make no sentence."""
    assert grammar.has_verb(text) is known


def test_a_not_may_still_wait_for_its_verb() -> None:
    """What a "not" forbids may come late; "is not" forbids nothing."""
    assert grammar.awaits_verb("you must not under any circumstances")
    assert not grammar.awaits_verb("you can't smoke here")
    assert not grammar.awaits_verb("it's not rocket science and he isn't interested")


def test_essentials_are_numbers_names_and_negations() -> None:
    """What no rule may lose is found, however it is written."""
    assert grammar.essentials("Tell Anna I can't pay $40 or five, ok?") == {"anna", "$40", "five", "not"}


def test_slots_take_only_what_fits() -> None:
    """A slot for a verb wants one; a slot for anything takes anything."""
    assert grammar.fits({"do": "send it", "doing": "sending it", "did": "sent it", "x": "whatever", "when": ""})
    assert not grammar.fits({"do": "table it"})
    assert not grammar.fits({"order": "put it here"})
