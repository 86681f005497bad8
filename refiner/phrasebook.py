"""Say impolite speech politely with rules alone, for when there is no language model."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

# Measured before deciding against them: better-profanity needs 5 ms per sentence and masks words where grammar asks
# for another word; lemminflect costs 230 ms and inflect 1.8 s at start. The few verb forms needed here follow from
# the verb list itself, so words are data (phrases.toml) and there is no dependency.

_PHRASES = Path(__file__).with_name("phrases.toml")
_QUOTED = re.compile(r'"[^"]*"|“[^”]*”|«[^»]*»')
_PARKED = re.compile("[\ue000-\uf8ff]")
_SENTENCE_END = re.compile(r"[.!?…]+(?=\s|$)")
_SLOT = re.compile(r"\{(\w+)(?::([^}]*))?\}")
_EDGES = " ,;:-–—"
_MERGED_CLAUSES, _MERGED_WORDS = 3, 18


@dataclass(frozen=True, slots=True)
class _Sentence:
    text: str
    end: str = ""


@dataclass(frozen=True, slots=True)
class _Clause:
    """One act of speech: `kind` is ask (a request body), say (a finished sentence) or plain (left as it was)."""

    kind: str
    text: str
    joint: str = ""
    lead: str = ""
    end: str = ""


@dataclass(frozen=True, slots=True)
class _Cut:
    head: str
    joint: str
    tail: str


@dataclass(frozen=True, slots=True)
class _Tone:
    name: str
    request: tuple[str, ...]
    negation: str
    soon: str
    closing: str
    long_forms: bool
    swaps: "_Swaps"


@dataclass(frozen=True, slots=True)
class _Rule:
    pattern: re.Pattern[str]
    kind: str
    template: str
    by_tone: Mapping[str, str]
    tones: frozenset[str]
    even_if_polite: bool
    drops_not: bool


class _Patterns:
    """Turns the notation explained in phrases.toml into regular expressions."""

    def __init__(self, book: Mapping[str, Any]) -> None:
        time = book["time"]
        now = "|".join(time["now"])
        self._long = book["contractions"]
        self._slots = {
            "when": "|".join([f"(?:{s}) *" for s in time["starts"]] + time["whole"]),
            "now": now,
            "insult": "|".join(book["profanity"]["insults"].split()),
            "w": "_",
        }

    def clause(self, heard: str) -> re.Pattern[str]:
        """Compile a pattern that must match a whole clause."""
        return re.compile(self._regex(heard) + r"\Z", re.IGNORECASE)

    def phrase(self, heard: str) -> re.Pattern[str]:
        """Compile a pattern that may match anywhere between words."""
        start = r"\A" if heard.startswith("^") else r"(?<![\w'])"
        end = r"\Z" if heard.endswith("$") else r"(?![\w'])"
        return re.compile(start + self._regex(heard.strip("^$")) + end, re.IGNORECASE)

    def any_of(self, heard: Sequence[str]) -> re.Pattern[str]:
        """Compile a pattern that matches where one of several would."""
        return self.phrase(f"({'|'.join(heard)})")

    def _regex(self, heard: str) -> str:
        text = _SLOT.sub(self._slot, heard)
        text = re.sub(r"\[([^\]]*)\] ", r"((\1) )?", text)
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


class _Swaps:
    """An ordered list of phrases and what is said instead."""

    def __init__(self, patterns: _Patterns, table: Mapping[str, str]) -> None:
        self._swaps = [(patterns.phrase(heard), instead) for heard, instead in table.items()]

    def apply(self, text: str, **words: str) -> str:
        """Replace every phrase heard in a text, in order."""
        for pattern, instead in self._swaps:
            if pattern.search(text):
                text = pattern.sub(lambda found: instead.format(**words, **found.groupdict()), text)
                text = _tidy(text)
        return text


def _tidy(text: str) -> str:
    text = re.sub(r"\s*,(\s*,)*", ",", " ".join(text.split()))
    return text.strip(_EDGES)


def _lower_first(text: str) -> str:
    return text[:1].lower() + text[1:]


def _bare(word: str) -> str:
    return word.strip(",;:()").lower()


def _words(listed: str) -> frozenset[str]:
    return frozenset(word.replace("_", " ") for word in listed.split())


class _Cleaner:
    """Takes out of speech what nobody meant to say: fillers, stutters, false starts, swearing."""

    def __init__(self, book: Mapping[str, Any], patterns: _Patterns) -> None:
        self._noise = patterns.any_of(book["fillers"]["always"].split())
        self._swearing = patterns.any_of(book["profanity"]["always"].split())
        self._fillers = _Swaps(patterns, book["fillers"]["swap"])
        self._slang = _Swaps(patterns, book["slang"])
        self._profanity = _Swaps(patterns, book["profanity"]["swap"])
        self._meant_twice = _words(book["repeats"]["meant"])
        self._unfinished = _words(book["repeats"]["unfinished"])
        self._numbers = _words(book["numbers"]["words"])
        self._negations = _words(book["negations"]["words"])

    def clean(self, text: str) -> str:
        """Return what was meant to be said."""
        text = self._once(_tidy(self._noise.sub("", text)))
        text = self._fillers.apply(self._slang.apply(text))
        text = self._profanity.apply(text)
        return self._once(_tidy(self._swearing.sub("", text)))

    def swears_only(self, text: str) -> bool:
        """Tell whether nothing is left of a text because it was swearing rather than hesitating."""
        return bool(_tidy(self._noise.sub("", text)))

    def _once(self, text: str) -> str:
        words = text.split()
        at = 0
        while at < len(words):
            length = self._stutter(words, at) or self._false_start(words, at)
            if length:
                del words[at : at + length]
                at = max(0, at - 1)
            else:
                at += 1
        return " ".join(words)

    def _stutter(self, words: list[str], at: int) -> int:
        for length in (5, 4, 3, 2, 1):
            said, again = words[at : at + length], words[at + length : at + 2 * length]
            if len(again) == length and self._same(said, again) and not self._carries_meaning(said):
                return length
        return 0

    def _same(self, said: list[str], again: list[str]) -> bool:
        if len(said) == 1 and (_bare(said[0]) in self._meant_twice or said[0].istitle() and again[0].istitle()):
            return False
        return [_bare(word) for word in said] == [_bare(word) for word in again]

    def _false_start(self, words: list[str], at: int) -> int:
        """Count the words of "send me the" in "send me the send me a report"."""
        for length in (3, 4):
            begun, anew = words[at : at + length], words[at + length : at + length + 2]
            broken_off = len(anew) == 2 and _bare(begun[-1]) in self._unfinished
            if broken_off and self._same(begun[:2], anew) and not self._carries_meaning(begun):
                return length
        return 0

    def _carries_meaning(self, words: list[str]) -> bool:
        return any(any(c.isdigit() for c in word) or _bare(word) in self._numbers for word in words)


class _Grammar:
    """Tells commands, questions and statements apart by their first words."""

    def __init__(self, book: Mapping[str, Any], names: frozenset[str]) -> None:
        verbs, questions = book["verbs"], book["questions"]
        self.verbs, self.past = _words(verbs["always"]), _words(verbs["past"])
        self._doubtful, self._alone = _words(verbs["doubtful"]), _words(verbs["alone"])
        self._objects, self._prepositions = _words(verbs["objects"]), _words(verbs["prepositions"])
        self._finite, self.same_past = _words(verbs["finite"]), _words(verbs["same_past"])
        self._asking, self._helpers = _words(questions["words"]), _words(questions["helpers"])
        self._subjects, self._not_before = _words(questions["subjects"]), _words(questions["not_before"])
        self._always_asks, self._tags = _words(questions["always"]), _words(questions["tags"])
        self._pronouns = _words("i you he she it we they")
        self._names = names

    def is_command(self, text: str) -> bool:
        """Tell whether a clause begins with a verb that orders something."""
        words = [_bare(word) for word in text.split()]
        if words[:2] == ["do", "not"]:
            return len(words) > 2 and words[2] in self.verbs
        if words and words[0] in ("don't", "never"):
            return len(words) > 1 and words[1] in self.verbs
        return bool(words) and words[0] in self.verbs and self._orders(words)

    def _orders(self, words: list[str]) -> bool:
        if len(words) == 1:
            return words[0] in self._alone
        first, second, rest = words[0], words[1], words[2:]
        if second in self._finite or second[:-1] in self.verbs and second.endswith("s"):
            return False
        if first not in self._doubtful or second in self._objects or second in self._names:
            return True
        return second in self._prepositions and not self._finite.intersection(rest)

    def is_question(self, text: str) -> bool:
        """Tell whether a sentence asks something."""
        words = [_bare(word) for word in text.split()]
        if len(words) < 2:
            return words[:1] == ["why"]
        first, second = words[:2]
        if first in self._asking:
            return first == "why" or second not in self._not_before
        if first in self._always_asks or len(words) > 3 and words[-2] in self._tags:
            return True
        subjects = self._pronouns if first in ("do", "have") else self._subjects | self._names
        return first in self._helpers and second in subjects

    def base_form(self, doing: str) -> str:
        """Return the verb of "sending", "making" or "stopping", or nothing when it is not one."""
        stem = doing.lower().removesuffix("ing")
        if stem == doing.lower():
            return ""
        doubled = stem[:-1] if stem[-1:] == stem[-2:-1] else stem
        ie = stem[:-1] + "ie" if stem.endswith("y") else stem
        return next((verb for verb in (stem, stem + "e", doubled, ie) if verb in self.verbs), "")

    def fits(self, slot: str, value: str) -> bool:
        """Tell whether words may fill a slot of the phrasebook's notation."""
        first = _bare(value.partition(" ")[0])
        if slot == "do":
            return first in self.verbs
        if slot == "did":
            return first in self.past or first.endswith("ed")
        return slot != "doing" or bool(self.base_form(first))


class _Finisher:
    """Puts case and punctuation right."""

    def __init__(self, book: Mapping[str, Any], patterns: _Patterns, names: frozenset[str]) -> None:
        capitals, joining = book["capitals"], book["joining"]
        listed = f"{capitals['words']} {capitals['names']}".split()
        self._capitals = {word.lower(): word for word in listed}
        self._phrases = [(patterns.phrase(p.lower()), p) for p in capitals["phrases"]]
        self._after, self._only_after = _words(capitals["after"]), _words(capitals["after_names"])
        self._months, self._month_after = _words(capitals["months"]), _words(capitals["month_after"])
        self._lead_ins, self._lead_in_before = _words(joining["lead_ins"]), _words(joining["lead_in_before"])
        self._with_comma = patterns.any_of([f"^{p}" for p in joining["phrases_with_comma"]])
        self._contractions, self._long = book["contractions"], book["long_forms"]
        self._names = names

    def finish(self, text: str) -> str:
        """Return a sentence with its capitals and the commas that speech leaves out."""
        words = self._commas(text).split(" ")
        words = [self._cased(words, at) for at in range(len(words))]
        text = " ".join(words)
        for pattern, phrase in self._phrases:
            text = pattern.sub(phrase, text)
        return _capitalised(text)

    def _commas(self, text: str) -> str:
        text = re.sub(r"(?<=\w) (please)(?=\W*\Z)", r", \1", text, flags=re.IGNORECASE)
        first, _, rest = text.partition(" ")
        follows = _bare(rest.partition(" ")[0])
        if first.lower() in self._lead_ins and follows in self._lead_in_before and len(rest.split()) > 1:
            return f"{first}, {rest}"
        return text

    def _cased(self, words: list[str], at: int) -> str:
        word = words[at]
        core = re.match(r"[A-Za-z]+", word)
        if not core or not word.islower() or not re.fullmatch(r"[a-z]+(?:'[a-z]+)?[^\w]*", word):
            return word
        name = core[0]
        if name == "i":
            return "I" + word[1:]
        if name in self._capitals:
            return self._capitals[name] + word[core.end() :]
        before = words[at - 1].lower() if at else ""
        after = words[at + 1] if at + 1 < len(words) else ""
        if self._is_name_here(name, before, after):
            return word.capitalize()
        return word

    def _is_name_here(self, word: str, before: str, after: str) -> bool:
        if word in self._months and (before in self._month_after or after[:1].isdigit()):
            return True
        return word in self._only_after and before in self._after

    def long_forms(self, text: str) -> str:
        """Write out "I'm", "don't" and the like."""
        text = re.sub(
            r"\b(\w+n't) (i|you|he|she|it|we|they)\b",
            lambda m: f"{self._contractions.get(m[1].lower(), m[1])} {m[2]}".replace("cannot", "can not"),
            text,
            flags=re.IGNORECASE,
        )
        return text


def _capitalised(text: str) -> str:
    for at, letter in enumerate(text):
        if letter.isalpha():
            word = text[at:].split(" ", 1)[0]
            odd = "@" in word or "://" in word or word[1:] != word[1:].lower() or "." in word.rstrip(".?!,")
            return text if odd else text[:at] + letter.upper() + text[at + 1 :]
        if letter.isdigit() or _PARKED.match(letter):
            return text
    return text
