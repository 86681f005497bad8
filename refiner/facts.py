"""What must survive a rewriting: numbers, addresses, names and negations, looked for in what came out."""

import re
from collections.abc import Iterator

from text_to_num import alpha2digit

from refiner.text import primary_language

_SPELLED_NUMBERS = {"en", "fr", "es", "pt", "de", "it", "nl"}
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
_THOUSANDS = re.compile(r"(?<=\d)[,\u202f'](?=\d{3}(?!\d))")
_ADDRESS = re.compile(
    r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+|(?:https?://|www\.)\S*[\w/]|\b[\w-]+\.(?:com|org|net|io|de|uk|edu)\b", re.I
)
_NAME = re.compile(r"(?<![.!?…:]\s)(?<!^)(?<![\w'’])[A-Z][\w-]*[a-z][\w-]*")
_NO_NAMES = {"I", "I'm", "I'll", "I've", "I'd", "OK", "Okay"}
# Where every noun has a capital letter, capitals tell no names.
_NOUNS_CAPITALISED = {"de", "lb"}

_NEGATED = {
    "en": re.compile(r"\b(?:not|never|no|nobody|nothing|none|nowhere|neither|nor|without|cannot)\b|n['’]t\b", re.I),
    "de": re.compile(r"\b(?:nicht|nichts|nie|niemals|niemand|kein\w*|ohne|weder)\b", re.I),
    "fr": re.compile(r"\b(?:pas|jamais|rien|personne|aucune?|sans|ni)\b", re.I),
    "es": re.compile(r"\b(?:no|nunca|jamás|nada|nadie|ningun\w*|ningún|sin|ni|tampoco)\b", re.I),
    "it": re.compile(r"\b(?:non|mai|niente|nulla|nessun\w*|senza|né)\b", re.I),
    "pt": re.compile(r"\b(?:não|nunca|jamais|nada|ninguém|nenhum\w*|sem|nem)\b", re.I),
}
# How politeness denies without denying.
_SOFTLY_NEGATED = {
    "en": re.compile(
        r"\b(?:unable|unavailable|unfortunately|instead|stop|avoid|refrain|declin\w+|rather than|hardly|barely|lack\w*|"
        r"missing|fail\w*|keep from|prefer|hold off|un(?!der|til|ited)\w{3,}|"
        r"in(?:correct|accurate|sufficient|convenien\w+))\b",
        re.I,
    ),
    "de": re.compile(r"\b(?:leider|statt\w*|vermeid\w+|unterlass\w+|un\w{4,})\b", re.I),
}


def missing_facts(said: str, rewritten: str, *, language: str) -> list[str]:
    """Return what `said` holds and `rewritten` seems to have lost, in the order it was said.

    A hint, not a verdict: numbers count as equal however they are written ("five", "5"), a negation as kept when
    anything of the kind is left.
    """
    spoken = primary_language(language)
    lost = [*_lost_numbers(said, rewritten, spoken), *_lost_addresses(said, rewritten)]
    lost += _lost_names(said, rewritten, spoken)
    lost += _lost_negation(said, rewritten, spoken)
    return list(dict.fromkeys(lost))


def _lost_numbers(said: str, rewritten: str, spoken: str) -> Iterator[str]:
    kept = set(_numbers(rewritten, spoken))
    yield from (number for number in _numbers(said, spoken) if number not in kept)


def _numbers(text: str, spoken: str) -> list[str]:
    digits = alpha2digit(text, spoken) if spoken in _SPELLED_NUMBERS else text
    return _NUMBER.findall(_THOUSANDS.sub("", digits))


def _lost_addresses(said: str, rewritten: str) -> Iterator[str]:
    kept = rewritten.casefold()
    yield from (address for address in _ADDRESS.findall(said) if address.casefold() not in kept)


def _lost_names(said: str, rewritten: str, spoken: str) -> Iterator[str]:
    names = [name for name in _NAME.findall(said) if name not in _NO_NAMES]
    if spoken in _NOUNS_CAPITALISED or len(names) * 2 > len(said.split()):
        return
    kept = rewritten.casefold()
    yield from (name for name in names if name.casefold() not in kept)


def _lost_negation(said: str, rewritten: str, spoken: str) -> Iterator[str]:
    negated, softly = _NEGATED.get(spoken), _SOFTLY_NEGATED.get(spoken)
    found = negated.search(said) if negated else None
    if negated and found and not negated.search(rewritten) and not (softly and softly.search(rewritten)):
        yield _whole_word(said, found.start())


def _whole_word(text: str, position: int) -> str:
    """Return the word around a position, so that "n't" is shown as the word it ends."""
    start = text.rfind(" ", 0, position + 1) + 1
    return text[start:].split(maxsplit=1)[0].strip(".,!?")
