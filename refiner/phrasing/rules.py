"""Read the rule language of phrases.toml: patterns with slots, swaps, and rules with what they say instead."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

_SLOT = re.compile(r"\{(\w+)(?::([^}]*))?\}")
_SLOT_OUT = re.compile(r"\{(\w+(?:\.do)?)\}")
_EDGES = " ,;:-–—"


def words(listed: str) -> frozenset[str]:
    """Return the words of a list written as one text."""
    return frozenset(listed.split())


def bare(text: str) -> list[str]:
    """Return the words of a text in small letters, without commas and brackets."""
    return [word.strip(",;:()").lower() for word in text.split()]


def tidy(text: str) -> str:
    """Put right what is left of spaces and commas after words went."""
    text = re.sub(r"\s*,(\s*,)*", ",", " ".join(text.split()))
    return text.strip(_EDGES)


class Patterns:
    """Turns the notation explained in phrases.toml into regular expressions."""

    def __init__(self, book: Mapping[str, Any]) -> None:
        time = book["time"]
        self._long = book["contractions"]
        self._slots = {
            "when": "|".join([f"(?:{s}) *" for s in time["starts"]] + time["whole"]),
            "now": "|".join(time["now"]),
            "insult": "|".join(book["profanity"]["insults"].split()),
            "w": "_",
            **{name: "|".join(listed.split()) for name, listed in book["lists"].items()},
        }

    def clause(self, heard: str) -> re.Pattern[str]:
        """Compile a pattern that must match a whole clause."""
        return re.compile(self._regex(heard) + r"\Z", re.IGNORECASE)

    def phrase(self, heard: str) -> re.Pattern[str]:
        """Compile a pattern that may match anywhere between words."""
        inside = r"(?<![\w'])" if heard[:1].isalnum() or heard[:1] in "({[" else ""
        start = r"\A" if heard.startswith("^") else inside
        end = r"(?=[.!?]*\Z)" if heard.endswith("$") else r"(?![\w'])"
        return re.compile(start + self._regex(heard.strip("^$")) + end, re.IGNORECASE)

    def any_of(self, heard: Sequence[str], *, start: str = "", end: str = "") -> re.Pattern[str]:
        """Compile a pattern that matches where one of several would."""
        return self.phrase(f"{start}({'|'.join(heard)}){end}")

    def needle(self, heard: str) -> str:
        """Return a word without which a pattern cannot match: finding it is far cheaper than trying the pattern."""
        before = ""
        while heard != before:
            before, heard = heard, re.sub(r"\([^()]*\)", " ", heard)
        found = re.findall(r"[a-z']+", re.sub(r"\[[^\]]*\]|\{[^}]*\}", " ", heard))
        return max((_shared(word, self._long.get(word, word)) for word in found), key=len, default="")

    def _regex(self, heard: str) -> str:
        text = _SLOT.sub(self._slot, heard)
        leading = re.match(r"(\[[^\]]*\] )*", text)
        at = leading.end() if leading else 0
        text = re.sub(r"\[([^\]]*)\] ", r"((\1) )?", text[:at]) + text[at:]
        text = re.sub(r" \[([^\]]*)\]", r"( (\1))?", text)
        text = re.sub(r"\((?!\?)", "(?:", text)
        text = re.sub(r"\b[a-z]+'[a-z]+\b", self._both_forms, text)
        text = text.replace("*", ".+?").replace("_", r"\S+").replace("#", r"\d\S*")
        return text.replace(" ", ",? ")

    def _slot(self, found: re.Match[str]) -> str:
        return f"(?P<{found[1]}>{found[2] or self._slots.get(found[1], '*')})"

    def _both_forms(self, found: re.Match[str]) -> str:
        long = self._long.get(found[0])
        return f"(?:{found[0]}|{long})" if long else found[0]


def _shared(short: str, long: str) -> str:
    """Return how both forms of a word begin: "do" for "don't" and "do not"."""
    same = [a == b for a, b in zip(short, long, strict=False)]
    return short[: [*same, False].index(False)]


class Swaps:
    """An ordered list of phrases and what is said instead."""

    def __init__(self, patterns: Patterns, table: Mapping[str, str]) -> None:
        self._swaps = [(patterns.needle(heard), patterns.phrase(heard), said) for heard, said in table.items()]

    def apply(self, text: str, **given: str) -> str:
        """Replace every phrase heard in a text, in order."""
        lowered = text.lower()
        for needle, pattern, said in self._swaps:
            if needle in lowered and pattern.search(text):
                text = tidy(pattern.sub(partial(_swapped, said=said, given=given), text))
                lowered = text.lower()
        return text


def _swapped(found: re.Match[str], said: str, given: Mapping[str, str]) -> str:
    return said.format(**given, **found.groupdict(""))


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of `heard`: `kind` is ask (a request body), say (a finished sentence) or leave."""

    kind: str
    needle: str
    pattern: re.Pattern[str]
    entry: Mapping[str, Any]

    def counts(self, tone: str, *, polite: bool) -> bool:
        """Tell whether the rule applies in a tone, and around a "please" if there is one."""
        return tone in self.entry.get("tones", (tone,)) and (not polite or bool(self.entry.get("even_if_polite")))

    def said(self, tone: str, slots: Mapping[str, str]) -> str:
        """Return what is said instead, with the slots filled."""
        return filled(self.entry.get(tone, self.entry[self.kind]), slots)


def filled(template: str, slots: Mapping[str, str]) -> str:
    """Put the words heard where a template wants them."""
    return tidy(_SLOT_OUT.sub(lambda slot: slots[slot[1]], template))


def read_rules(entries: Sequence[Mapping[str, Any]], patterns: Patterns) -> Iterator[Rule]:
    """Yield the rules of a phrasebook in order; raises ValueError for one that would lose a slot."""
    for entry in entries:
        kind = next(kind for kind in ("ask", "say", "leave") if kind in entry)
        for heard in entry["heard"]:
            _check(heard, entry)
            yield Rule(kind, patterns.needle(heard), patterns.clause(heard), entry)


def _check(heard: str, entry: Mapping[str, Any]) -> None:
    given = {slot[0] for slot in _SLOT.findall(heard)} - {"w", "now", "insult"}
    for said in ("ask", "say", "formal", "friendly", "concise", "after_request"):
        used = {slot.removesuffix(".do") for slot in _SLOT_OUT.findall(entry.get(said, ""))}
        if said in entry and used != given:
            raise ValueError(f"phrasebook rule {heard!r}: heard {sorted(given)} but says {sorted(used)}")
