import pytest

from refiner.facts import missing_facts


@pytest.mark.parametrize(
    ("said", "rewritten", "missing"),
    [
        ("send me five copies", "Could you please send me 5 copies?", []),
        ("send me 5 copies", "Could you please send me five copies?", []),
        ("send me five copies", "Could you please send me copies?", ["5"]),
        ("pay me twenty five dollars", "Could you please pay me $25?", []),
        ("it costs 1500 dollars", "It costs $1,500.", []),
        ("it costs 12.50", "It costs 12.05.", ["12.50"]),
        ("meet me at five thirty", "Could we meet at 5:30?", []),
        ("be there at 9:45", "Could you be there soon?", ["9", "45"]),
        ("on the third of may", "On the 3rd of May, please.", []),
        ("no one told me", "I was not informed.", []),
    ],
)
def test_numbers_survive_however_they_are_written(said: str, rewritten: str, missing: list[str]) -> None:
    """Digits and words are the same number; a number that is gone is named."""
    assert missing_facts(said, rewritten, language="en-US") == missing


@pytest.mark.parametrize(
    ("said", "rewritten", "missing"),
    [
        ("write to Bob@example.com now", "Could you please write to bob@example.com?", []),
        ("write to bob@example.com now", "Could you please write to Bob?", ["bob@example.com"]),
        ("look at https://example.org/a now", "Could you please look at the page?", ["https://example.org/a"]),
        ("go to example.com", "Could you please visit example.com?", []),
    ],
)
def test_addresses_survive_letter_by_letter(said: str, rewritten: str, missing: list[str]) -> None:
    """A mail or web address is right or useless."""
    assert missing_facts(said, rewritten, language="en-US") == missing


@pytest.mark.parametrize(
    ("said", "language", "missing"),
    [
        ("tell Sarah that I'm late", "en-US", ["Sarah"]),
        ("Tell them that I am late", "en-US", []),
        ("It is late. They left", "en-US", []),
        ("das Haus ist kalt", "de-DE", []),
        ("TELL HER NOW", "en-US", []),
    ],
)
def test_names_are_capitals_inside_a_sentence(said: str, language: str, missing: list[str]) -> None:
    """Sentence beginnings, I, and German nouns are no names."""
    assert missing_facts(said, "Something else.", language=language) == missing


@pytest.mark.parametrize(
    ("said", "rewritten", "language", "missing"),
    [
        ("don't come", "Please come.", "en-US", ["don't"]),
        ("i am not coming", "I am coming.", "en", ["not"]),
        ("i am not coming", "I'm afraid I won't be able to come.", "en", []),
        ("i can't do that", "Unfortunately, that is beyond me.", "en", []),
        ("don't touch that", "Could you please refrain from touching that?", "en", []),
        ("ich komme nicht", "Ich komme gern.", "de-DE", ["nicht"]),
        ("je ne viens pas", "Je viens volontiers.", "fr", ["pas"]),
        ("tulen huomenna", "Tulen mielelläni.", "fi", []),
    ],
)
def test_a_denial_stays_a_denial(said: str, rewritten: str, language: str, missing: list[str]) -> None:
    """The most expensive word to lose is the smallest one."""
    assert missing_facts(said, rewritten, language=language) == missing


def test_each_fact_is_named_once_in_order() -> None:
    """A list to show, not a log."""
    assert missing_facts("call Bob Smith, 7 or 8, not 7", "Call.", language="en") == ["7", "8", "Bob", "Smith", "not"]
