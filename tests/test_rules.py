"""The notation of phrases.toml, and the rules written in it."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

import refiner.phrasing.rules
from refiner.phrasing.rules import Patterns, Swaps, bare, read_rules, tidy

BOOK = tomllib.loads(Path(refiner.phrasing.rules.__file__).parent.with_name("phrases.toml").read_text(encoding="utf-8"))
patterns = Patterns(BOOK)


@pytest.mark.parametrize(
    ("heard", "text", "slots"),
    [
        ("give me {x}", "give me the keys", {"x": "the keys"}),
        ("[really] (stop|quit) it", "really quit it", {}),
        ("[really] (stop|quit) it", "stop it", {}),
        ("you're {x:late|loud}", "you are late", {"x": "late"}),
        ("call {w} at #", "call tom at 5pm", {"w": "tom"}),
        ("i need {x} {when}", "i need it by friday", {"x": "it", "when": "by friday"}),
        ("i need {x:it *} now", "i need it right here now", {"x": "it right here"}),
    ],
)
def test_a_pattern_hears(heard: str, text: str, slots: dict[str, str]) -> None:
    """Each piece of the notation hears what the file says it hears."""
    found = patterns.clause(heard).match(text)
    assert found
    assert found.groupdict() == slots


@pytest.mark.parametrize(("heard", "text"), [("stop", "stop it"), ("{w}", "two words"), ("call #", "call tom")])
def test_a_clause_is_heard_whole_or_not_at_all(heard: str, text: str) -> None:
    """A pattern for a clause does not hear a part of one."""
    assert not patterns.clause(heard).match(text)


@pytest.mark.parametrize(
    ("heard", "needle"),
    [("(a|b) waiting [long]", "waiting"), ("don't {do}", "do"), ("(a|b)", ""), ("{x:a *} go", "go")],
)
def test_a_needle_is_part_of_all_that_is_heard(heard: str, needle: str) -> None:
    """The longest word that cannot be missing is what is looked for first."""
    assert patterns.needle(heard) == needle


def test_swaps_apply_in_order_between_words() -> None:
    """A later swap sees what an earlier one said; parts of words are left alone."""
    swaps = Swaps(patterns, {"{w} please$": "{w}, please", "please": "kindly", "^so": "", "soon": "{soon}"})
    assert swaps.apply("so do it soon please.", soon="today") == "do it today, kindly."
    assert swaps.apply("pleased to meet you") == "pleased to meet you"


def rule(**entry: Any) -> Any:
    """Return the only rule of an entry."""
    (only,) = read_rules([entry], patterns)
    return only


def test_a_rule_says_what_its_tone_wants() -> None:
    """A tone's own words come before those for all."""
    only = rule(heard=["give me {x}"], say="May I have {x}?", concise="{x}, please.")
    assert only.said("polite", {"x": "tea"}) == "May I have tea?"
    assert only.said("concise", {"x": "tea"}) == "tea, please."


def test_a_rule_counts_where_it_is_meant_to() -> None:
    """Rules may be kept to some tones, and do not touch polite text unless they say so."""
    assert rule(heard=["go"], ask="leave").counts("formal", polite=False)
    assert not rule(heard=["go"], ask="leave").counts("formal", polite=True)
    assert rule(heard=["go"], ask="leave", even_if_polite=True).counts("formal", polite=True)
    assert not rule(heard=["go"], ask="leave", tones=["concise"]).counts("formal", polite=False)


@pytest.mark.parametrize("said", ["pass {x}", "pass {x} to {y} and {z}"])
def test_a_rule_that_loses_or_invents_words_is_refused(said: str) -> None:
    """What is heard in slots must be said, and nothing else can be."""
    with pytest.raises(ValueError, match=r"pass \{x\} to \{y\}"):
        rule(heard=["pass {x} to {y}"], ask=said)


def test_words_are_bared_and_texts_tidied() -> None:
    """Commas and brackets are not part of words; spaces and commas do not pile up."""
    assert bare("Well, (then) Go") == ["well", "then", "go"]
    assert tidy(" a ,  , b , ") == "a, b"
