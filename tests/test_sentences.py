"""Cleaning, cutting, joining and finishing sentences."""

import tomllib
from pathlib import Path

import pytest

import refiner.phrasing.sentences
from refiner.phrasing.grammar import Grammar
from refiner.phrasing.rules import Patterns
from refiner.phrasing.sentences import Cleaner, Cutter, Finisher, Sentence

BOOK = tomllib.loads(
    Path(refiner.phrasing.sentences.__file__).parent.with_name("phrases.toml").read_text(encoding="utf-8")
)
patterns = Patterns(BOOK)
grammar = Grammar(BOOK, patterns)
cleaner, cutter, finisher = Cleaner(BOOK, patterns, grammar), Cutter(BOOK, patterns, grammar), Finisher(BOOK, patterns)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("um i i want want it", "i want it"),
        ("can you uh can you help", "can you help"),
        ("send me the send me a report", "send me a report"),
        ("it was very very cold", "it was very very cold"),
        ("call five five five one one two", "call five five five one one two"),
        ("Duran Duran played", "Duran Duran played"),
        ("where the hell is my damn coffee", "where is my coffee"),
        ("it's like really late", "it's really late"),
        ("i like pizza", "i like pizza"),
    ],
)
def test_cleaning(text: str, expected: str) -> None:
    """Fillers, stutters, false starts and swearing go; what was meant stays."""
    assert cleaner.clean(text) == expected


def test_hesitation_is_not_swearing() -> None:
    """Only what is more than a filler counts as swearing."""
    assert cleaner.swears_only("damn")
    assert not cleaner.swears_only("um uh")


@pytest.mark.parametrize(
    ("piece", "sentences"),
    [
        ("One. Two? Three!", [("One", "."), ("Two", "?"), ("Three", "!")]),
        ("Dr. Lee comes at 5 p.m. tomorrow", [("Dr. Lee comes at 5 p.m. tomorrow", "")]),
        ("It is no. 5. Yes", [("It is no. 5", "."), ("Yes", "")]),
        ("It costs 2.50", [("It costs 2.50", "")]),
        ("", []),
    ],
)
def test_punctuation_ends_sentences(piece: str, sentences: list[tuple[str, str]]) -> None:
    """Abbreviations and numbers do not."""
    assert list(cutter.sentences(piece)) == [Sentence(*sentence) for sentence in sentences]


def test_what_goes_on_after_a_pause_is_joined() -> None:
    """A sentence left open takes the next piece; a closed one does not."""
    heard = [Sentence("i left it on the"), Sentence("table"), Sentence("but"), Sentence("it is gone", ".")]
    assert [s.text for s in cutter.joined(heard)] == ["i left it on the table, but it is gone"]
    assert len(cutter.joined([Sentence("stop", "."), Sentence("and go")])) == 2


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("i waited since monday morning i called you twice", ["i waited since monday morning", "i called you twice"]),
        ("bring it now i am tired", ["bring it now", "i am tired"]),
        ("answer the phone my customers are angry", ["answer the phone", "my customers are angry"]),
        ("we are late call me back", ["we are late", "call me back"]),
        ("this is my seat get up", ["this is my seat", "get up"]),
    ],
)
def test_run_on_speech_is_cut(text: str, sentences: list[str]) -> None:
    """A new sentence begins where one is over and a subject or a command follows."""
    assert [s.text for s in cutter.cut(Sentence(text, "!"))] == sentences
    assert [s.end for s in cutter.cut(Sentence(text, "!"))] == [*[""] * (len(sentences) - 1), "!"]


@pytest.mark.parametrize(
    "text",
    [
        "the doctor i saw yesterday was friendly",
        "when i get home i'll make dinner",
        "he said it's late",
        "i heard him tell me the news",
        "can you help me move the table",
        "the last time i was here you smiled",
        "don't you dare walk away from me",
        "you can't ever touch my things",
        "you must not under any circumstances call me",
        "you may never again use my phone",
        "i would rather take your car",
        "watch me fix this",
        "near the river and every morning we swam",
        "open up or i'll break it down",
        "could you sit down, take this and wait",
    ],
)
def test_what_may_be_one_sentence_is_not_cut(text: str) -> None:
    """When in doubt, nothing is cut."""
    assert list(cutter.cut(Sentence(text))) == [Sentence(text)]


def test_endless_speech_is_cut_in_time() -> None:
    """What never ends is not searched for ever."""
    (whole,) = cutter.cut(Sentence("if you see him tell him " * 5000))
    assert len(whole.text) > 100_000


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("i'm in new york with tom on monday.", "I'm in New York with Tom on Monday."),
        ("tell mark i may come in may.", "Tell Mark I may come in May."),
        ("leave a mark on it.", "Leave a mark on it."),
        ("excuse me is it far?", "Excuse me, is it far?"),
        ("you know him don't you?", "You know him, don't you?"),
        ("sit down please.", "Sit down, please."),
        ("bob@example.com is mine.", "bob@example.com is mine."),
        ("5 is enough.", "5 is enough."),
        ("iPads are here.", "iPads are here."),
    ],
)
def test_finishing(text: str, expected: str) -> None:
    """Capitals and commas are put where speech leaves them out."""
    assert finisher.finish(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I'm sure it's been done", "I am sure it has been done"),
        ("Don't you know they'd gone", "Do you not know they had gone"),
        ("it's late and I can't stay", "it is late and I cannot stay"),
    ],
)
def test_long_forms(text: str, expected: str) -> None:
    """Short forms are written out as their surroundings want."""
    assert finisher.long_forms(text) == expected
