"""Say impolite speech politely with rules alone, for when there is no language model."""

import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

# Measured before deciding against them: better-profanity needs 5 ms per sentence and masks words where grammar asks
# for another word; lemminflect costs 230 ms and inflect 1.8 s at start. The few verb forms needed here follow from
# the verb list itself, so words are data (phrases.toml) and there is no dependency.

_PHRASES = Path(__file__).with_name("phrases.toml")
_QUOTED = re.compile(r'"[^"]*"|“[^”]*”|«[^»]*»')
_PARKED = re.compile("[\ue000-\uf8ff]")
_SENTENCE_END = re.compile(r"[.!?…]+(?=\s|$)")
_TRAILING_OFF = re.compile(r"(?:\.{2,}|…)(?:(?=\s+[a-z])()|(?=\s|$))")
_CLOSED_TWICE = re.compile(r"([.!?…][\"”»])[.](?=\s|$)")
_SLOT = re.compile(r"\{(\w+)(?::([^}]*))?\}")
_SLOT_OUT = re.compile(r"\{(\w+(?:\.do)?)\}")
_EDGES = " ,;:-–—"
# Nobody speaks longer without a pause; what claims to is not searched for commands, which takes quadratic time.
_MOST_WORDS = 150
_MOST_PARKED = 6000
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
    after_request: str = ""


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
    needle: str
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
        self._long = book["contractions"]
        self._slots = {
            "when": "|".join([f"(?:{s}) *" for s in time["starts"]] + time["whole"]),
            "now": "|".join(time["now"]),
            "insult": "|".join(book["profanity"]["insults"].split()),
            "w": "_",
            **{name: "|".join(words.split()) for name, words in book["lists"].items()},
        }

    def clause(self, heard: str) -> re.Pattern[str]:
        """Compile a pattern that must match a whole clause."""
        return re.compile(self._regex(heard) + r"\Z", re.IGNORECASE)

    def phrase(self, heard: str) -> re.Pattern[str]:
        """Compile a pattern that may match anywhere between words."""
        inside = r"(?<![\w'])" if heard[:1].isalnum() or heard[:1] in "({[" else ""
        start = r"\A" if heard.startswith("^") else inside
        end = r"\Z" if heard.endswith("$") else r"(?![\w'])"
        return re.compile(start + self._regex(heard.strip("^$")) + end, re.IGNORECASE)

    def needle(self, heard: str) -> str:
        """Return a word without which a pattern cannot match: finding it is far cheaper than trying the pattern."""
        before = ""
        while heard != before:
            before, heard = heard, re.sub(r"\([^()]*\)", " ", heard)
        words = re.findall(r"[a-z']+", re.sub(r"\[[^\]]*\]|\{[^}]*\}", " ", heard))
        return max((_shared(word, self._long.get(word, word)) for word in words), key=len, default="")

    def starting(self, heard: Sequence[str]) -> re.Pattern[str]:
        """Compile a pattern that matches a text beginning as one of several do."""
        return self.phrase(f"^({'|'.join(heard)})")

    def any_of(self, heard: Sequence[str]) -> re.Pattern[str]:
        """Compile a pattern that matches where one of several would."""
        return self.phrase(f"({'|'.join(heard)})")

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


class _Swaps:
    """An ordered list of phrases and what is said instead."""

    def __init__(self, patterns: _Patterns, table: Mapping[str, str]) -> None:
        self._swaps = [(patterns.needle(heard), patterns.phrase(heard), said) for heard, said in table.items()]

    def apply(self, text: str, **words: str) -> str:
        """Replace every phrase heard in a text, in order."""
        lowered = text.lower()
        for needle, pattern, said in self._swaps:
            if needle in lowered and pattern.search(text):
                text = _tidy(pattern.sub(partial(_swapped, said=said, words=words), text))
                lowered = text.lower()
        return text


def _swapped(found: re.Match[str], said: str, words: Mapping[str, str]) -> str:
    return said.format(**words, **found.groupdict(""))


def _shared(short: str, long: str) -> str:
    """Return how both forms of a word begin: "do" for "don't" and "do not"."""
    same = [a == b for a, b in zip(short, long, strict=False)]
    return short[: [*same, False].index(False)]


def _tidy(text: str) -> str:
    text = re.sub(r"\s*,(\s*,)*", ",", " ".join(text.split()))
    return text.strip(_EDGES)


def _lower_first(text: str) -> str:
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _bare(word: str) -> str:
    return word.strip(",;:()").lower()


def _words(listed: str) -> frozenset[str]:
    return frozenset(listed.split())


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

    def clean(self, text: str) -> str:
        """Return what was meant to be said."""
        text = self._once(_tidy(self._noise.sub("", text)))
        text = self._fillers.apply(self._slang.apply(text))
        text = self._profanity.apply(text)
        return self._once(_tidy(self._swearing.sub("", text)))

    def swears_only(self, text: str) -> bool:
        """Tell whether nothing is left of a text because it was swearing rather than hesitating."""
        return any(letter.isalnum() for letter in self._noise.sub("", text))

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
        if len(said) == 1 and (_bare(said[0]) in self._meant_twice or (said[0].istitle() and again[0].istitle())):
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

    def __init__(self, book: Mapping[str, Any], patterns: _Patterns, names: frozenset[str]) -> None:
        verbs, questions = book["verbs"], book["questions"]
        self.verbs, self.past = _words(verbs["always"]), _words(verbs["past"])
        self._doubtful, self._alone = _words(verbs["doubtful"]), _words(verbs["alone"])
        self._objects, self._prepositions = _words(verbs["objects"]), _words(verbs["prepositions"])
        self._prepositional = _words(verbs["prepositional"])
        self._finite, self.same_past = _words(verbs["finite"]), _words(verbs["same_past"])
        self._asking, self._helpers = _words(questions["words"]), _words(questions["helpers"])
        self._subjects, self._not_before = _words(questions["subjects"]), _words(questions["not_before"])
        self._always_asks, self._tags = _words(questions["always"]), _words(questions["tags"])
        self._subordinators = _words(verbs["subordinators"])
        self._opener = patterns.starting(questions["openers"])
        self._pronouns = _words("i you he she it we they")
        self._names = names
        self._common = self.verbs | self._subjects | self._objects | self._prepositions

    def is_command(self, text: str) -> bool:
        """Tell whether a clause begins with a verb that orders something."""
        words = [_bare(word) for word in text.split()]
        if words[:2] == ["do", "not"] or words[:2] == ["don't", "just"]:
            return len(words) > 2 and words[2] in self.verbs
        if words and words[0] in ("don't", "never"):
            return len(words) > 1 and words[1] in self.verbs
        return bool(words) and words[0] in self.verbs and self._orders(words)

    def _orders(self, words: list[str]) -> bool:
        if len(words) == 1:
            return words[0] in self._alone
        first, second, rest = words[0], words[1], words[2:]
        if second in self._finite or (second[:-1] in self.verbs and second.endswith("s")):
            return False
        if first not in self._doubtful or second in self._names:
            return True
        stated = self._states(rest)
        led_by = second in self._prepositions and first in self._prepositional
        return not stated and (second in self._objects or led_by)

    def _states(self, words: list[str]) -> bool:
        """Tell whether a verb follows that is not part of a "who is" or "if it was"."""
        for word in words:
            if word in self._finite:
                return True
            if word in self._subordinators:
                return False
        return False

    def is_question(self, text: str) -> bool:
        """Tell whether a sentence asks something."""
        words = [_bare(word) for word in self._opener.sub("", text).split()]
        if len(words) < 2:
            return words[:1] == ["why"]
        if words[1] in self._helpers and words[2:3] == ["you"]:
            words = words[1:]
        first, second = words[:2]
        if first in self._asking:
            return first == "why" or second not in self._not_before
        if first in self._always_asks or (len(words) > 3 and words[-2] in self._tags):
            return True
        subjects = self._pronouns - {"it"} if first in ("do", "have") else self._subjects | self._names
        return first in self._helpers and second in subjects

    def base_form(self, doing: str) -> str:
        """Return the verb of "sending", "making" or "stopping", or nothing when it is not one."""
        stem = doing.lower().removesuffix("ing")
        if stem == doing.lower():
            return ""
        doubled = stem[:-1] if stem[-1:] == stem[-2:-1] else stem
        ie = stem[:-1] + "ie" if stem.endswith("y") else stem
        return next((verb for verb in (stem, stem + "e", doubled, ie) if verb in self.verbs), "")

    def is_clear_command(self, text: str) -> bool:
        """Tell whether a clause orders something to be done to something, beyond doubt."""
        words = [_bare(word) for word in text.split()]
        forbids = len(words) > 1 and words[0] in ("don't", "never")
        ordered = len(words) > 1 and words[0] in self.verbs and words[1] in self._objects
        return (forbids or ordered) and self.is_command(text)

    def is_subject(self, text: str) -> bool:
        """Tell whether a clause begins with somebody who does something."""
        return _bare(text.partition(" ")[0]).partition("'")[0] in self._pronouns

    def inside(self, text: str) -> str:
        """Return words as they stand inside a sentence: "This" loses its capital, "Siobhan" does not."""
        return _lower_first(text) if _bare(text.partition(" ")[0]) in self._common else text

    def fits(self, slot: str, value: str) -> bool:
        """Tell whether words may fill a slot of the phrasebook's notation."""
        first = _bare(value.partition(" ")[0])
        if slot in ("do", "order"):
            return first in self.verbs and not (slot == "order" and first in self.same_past)
        if slot == "did":
            return first in self.past or first.endswith("ed")
        return slot != "doing" or bool(self.base_form(first))


class _Finisher:
    """Puts case and punctuation right."""

    def __init__(self, book: Mapping[str, Any], patterns: _Patterns) -> None:
        capitals, joining = book["capitals"], book["joining"]
        listed = f"{capitals['words']} {capitals['names']}".split()
        self._capitals = {word.lower(): word for word in listed}
        self._phrases = [(patterns.phrase(p.lower()), p) for p in capitals["phrases"]]
        self._after, self._only_after = _words(capitals["after"]), _words(capitals["after_names"])
        self._months, self._month_after = _words(capitals["months"]), _words(capitals["month_after"])
        self._after_too, self._too_names = _words(capitals["after_too"]), _words(capitals["after_too_names"])
        self._before_too = _words(capitals["before_too"])
        self._lead_ins, self._lead_in_before = _words(joining["lead_ins"]), _words(joining["lead_in_before"])
        self._with_comma = patterns.starting(joining["phrases_with_comma"])
        tags = "|".join(book["questions"]["tags"].split())
        self._tag = re.compile(rf"(?<=\w) ((?:{tags}) (?:i|you|he|she|it|we|they)\?)\Z", re.IGNORECASE)
        self._contractions = book["contractions"]
        self._has_before = _words(book["long_forms"]["has_before"])
        self._had_before = _words(book["long_forms"]["had_before"])
        negative = "|".join(word for word, long in self._contractions.items() if long.endswith(" not"))
        self._asked_not = re.compile(rf"\b({negative}) (i|you|he|she|it|we|they)\b", re.IGNORECASE)
        self._contracted = re.compile(rf"\b({'|'.join(self._contractions)})\b", re.IGNORECASE)

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
        text = self._tag.sub(r", \1", text)
        phrase = self._with_comma.match(text)
        if phrase and text[phrase.end() : phrase.end() + 1] == " ":
            return f"{text[: phrase.end()]},{text[phrase.end() :]}"
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
        if word in self._too_names and before in self._after_too and (not after or after in self._before_too):
            return True
        if word in self._months and (before in self._month_after or after[:1].isdigit()):
            return True
        return word in self._only_after and before in self._after

    def long_forms(self, text: str) -> str:
        """Write out "I'm", "don't" and the like."""
        text = self._asked_not.sub(lambda m: f"{self._long_form(m[1])[:-4]} {m[2]} not", text)
        return self._contracted.sub(lambda m: self._in_context(m[0], text[m.end() :]), text)

    def _in_context(self, short: str, rest: str) -> str:
        long, follows = self._long_form(short), _bare(rest.partition(" ")[2].partition(" ")[0])
        if long.endswith(" is") and follows in self._has_before:
            return long.removesuffix("is") + "has"
        if long.endswith(" would") and follows in self._had_before:
            return long.removesuffix("would") + "had"
        return long

    def _long_form(self, short: str) -> str:
        long: str = self._contractions[short.lower()]
        return long.capitalize() if short[0].isupper() else long


def _capitalised(text: str) -> str:
    for at, letter in enumerate(text):
        if letter.isalpha():
            word = text[at:].split(" ", 1)[0]
            odd = "@" in word or "://" in word or word[1:] != word[1:].lower() or "." in word.rstrip(".?!,")
            return text if odd else text[:at] + letter.upper() + text[at + 1 :]
        if letter.isdigit() or _PARKED.match(letter):
            return text
    return text


class _Splitter:
    """Cuts pieces of speech into sentences and joins the ones a pause has torn apart."""

    def __init__(self, book: Mapping[str, Any]) -> None:
        joining, abbreviations = book["joining"], book["abbreviations"]
        self._ends, self._starts = _words(joining["ends"]), _words(joining["starts"])
        self._starts_if_short, self._short = _words(joining["starts_if_short"]), int(joining["short"])
        self._comma = _words(joining["comma"])
        self._abbreviations = _words(abbreviations["words"])
        self._may_end = _words(abbreviations["may_end"])
        self._before_number = _words(abbreviations["before_number"])

    def sentences(self, piece: str) -> Iterator[_Sentence]:
        """Yield the sentences of one piece, each with its closing punctuation."""
        begin = 0
        for found in _SENTENCE_END.finditer(piece):
            word = piece[: found.start()].rpartition(" ")[2].lower().lstrip("(\"'")
            if self._closes(word, found[0], piece[found.end() :].lstrip()):
                # The full stop of "p.m." stays with its word.
                kept = found.start() + (found[0] == "." and word in self._abbreviations)
                yield _Sentence(piece[begin:kept].strip(), _end(found[0]))
                begin = found.end()
        if piece[begin:].strip():
            yield _Sentence(piece[begin:].strip())

    def _closes(self, word: str, marks: str, follows: str) -> bool:
        if marks != ".":
            return True
        if word in self._before_number:
            return not follows[:1].isdigit()
        if word in self._abbreviations:
            return not follows or (word in self._may_end and follows[:1].isupper())
        return True

    def joined(self, sentences: Sequence[_Sentence]) -> list[_Sentence]:
        """Put together what obviously goes on after a pause."""
        whole: list[_Sentence] = []
        for sentence in sentences:
            if whole and not whole[-1].end and self._goes_on(whole[-1].text, sentence.text):
                first = sentence.text.partition(" ")[0].lower()
                comma = "," if first in self._comma else ""
                whole[-1] = _Sentence(f"{whole[-1].text}{comma} {sentence.text}", sentence.end)
            else:
                whole.append(sentence)
        return whole

    def _goes_on(self, before: str, after: str) -> bool:
        first, length = _bare(after.partition(" ")[0]), len(after.split())
        if _bare(before.rpartition(" ")[2]) in self._ends or first in self._starts:
            return True
        return first in self._starts_if_short and length <= self._short


def _end(marks: str) -> str:
    if "?" in marks:
        return "?"
    return "!" if "!" in marks else "."


def _tone(name: str, entry: Mapping[str, Any], patterns: _Patterns) -> _Tone:
    return _Tone(
        name=name,
        request=tuple(entry["request"]),
        negation=entry["not"],
        soon=entry["soon"],
        closing=entry.get("closing", ""),
        long_forms=entry.get("long_forms", False),
        swaps=_Swaps(patterns, entry.get("swap", {})),
    )


def _rules(entry: Mapping[str, Any], patterns: _Patterns) -> Iterator[_Rule]:
    kind = next(kind for kind in ("ask", "say", "leave") if kind in entry)
    for heard in entry["heard"]:
        _check(heard, entry)
        yield _Rule(
            needle=patterns.needle(heard),
            pattern=patterns.clause(heard),
            kind=kind,
            template="" if kind == "leave" else entry[kind],
            by_tone=entry,
            tones=frozenset(entry.get("tones", ())),
            even_if_polite=entry.get("even_if_polite", False),
            drops_not=entry.get("drops_not", False),
        )


def _check(heard: str, entry: Mapping[str, Any]) -> None:
    """Refuse a rule that would lose a slot or say one it has not heard."""
    given = {slot[0] for slot in _SLOT.findall(heard)} - {"w", "now", "insult"}
    for said in ("ask", "say", "formal", "friendly", "concise", "after_request"):
        used = {slot.removesuffix(".do") for slot in _SLOT_OUT.findall(entry.get(said, ""))}
        if said in entry and used != given:
            raise ValueError(f"phrasebook rule {heard!r}: heard {sorted(given)} but says {sorted(used)}")


class _Essentials:
    """Knows which words no rule may lose."""

    def __init__(self, book: Mapping[str, Any]) -> None:
        capitals = book["capitals"]
        self._words = _words(f"{capitals['words']} {capitals['names']} {book['numbers']['words']}".lower())
        self._negations = _words(book["negations"]["words"])

    def survive(self, before: str, after: str) -> bool:
        """Tell whether the numbers, the names and a negation are still there."""
        return self._of(before) <= self._of(after)

    def _of(self, text: str) -> set[str]:
        words = {_bare(word).strip(".?!") for word in text.split()}
        found = {w for w in words if w in self._words or any(not c.isalpha() and c not in "'-" for c in w)}
        if any(w in self._negations or w.endswith("n't") for w in words):
            found.add("not")
        return found


class _Clauses:
    """Finds out what a sentence does and says the impolite parts another way."""

    def __init__(self, book: Mapping[str, Any], patterns: _Patterns, grammar: _Grammar) -> None:
        commands, polite, capitals = book["commands"], book["polite"], book["capitals"]
        self._grammar = grammar
        self._rules = [rule for entry in book["rule"] for rule in _rules(entry, patterns)]
        self._polite = patterns.any_of(polite["signs"])
        self._wrapping = patterns.phrase(f"^{polite['wrapping']} {{x}} [please]$")
        self._wishes = patterns.starting(polite["wishes"])
        self._opener = patterns.starting(commands["openers"])
        self._greetings, self._kept = _words(commands["greetings"]), _words(commands["kept"])
        self._addressed_by_rules = _words(commands["addressed_by_rules"])
        self._addressed = _words(f"{commands['addressed']} {capitals['names'].lower()}")
        joints = "|".join(commands["joints"])
        self._joint = re.compile(rf"(?:, | )(?:({joints}) )?", re.IGNORECASE)
        self._breaks, self._reporting = patterns.starting(commands["breaks"]), _words(commands["reporting"])
        self._closed = _words(f"{commands['closed']} {book['numbers']['words']}")
        self._conditions, self._condition_ends = _words(commands["conditions"]), _words(commands["condition_ends"])
        self._run_on = patterns.starting(commands["run_on"])
        self._not_after, self._telling = _words(commands["run_on_not_after"]), _words(commands["telling"])
        self._starts = patterns.starting(commands["starts"])
        self._swaps = _Swaps(patterns, commands["swap"])
        self._essentials = _Essentials(book)

    def of(self, sentence: _Sentence, style: _Tone) -> list[_Clause]:
        """Return what a sentence does, clause by clause."""
        clauses = self._sentence(sentence.text, style)
        last = clauses[-1]
        if last.kind == "plain":
            mark = "?" if self._grammar.is_question(sentence.text) else "."
            clauses[-1] = replace(last, end=sentence.end or mark)
        return clauses

    def _sentence(self, text: str, style: _Tone) -> list[_Clause]:
        plain = [_Clause("plain", text)]
        if text.count(" ") > _MOST_WORDS:
            return plain
        polite, asks = self._polite.search(text), self._grammar.is_question(text)
        if polite or asks:
            act = self._wrapped(text, style) or (None if polite else self._act(text, style, ruled_only=True))
            return [act] if act else plain
        return plain if self._wishes.match(text) else self._chain(text, style)

    def _wrapped(self, text: str, style: _Tone) -> _Clause | None:
        """Find what stays rude with a "please" or a "could you" around it."""
        wrapped = self._wrapping.match(text)
        bodies = [wrapped["x"], text] if wrapped else [text]
        acts = (self._ruled(body, style, even_if_polite=True) for body in bodies)
        return next((act for act in acts if act), None)

    def _chain(self, text: str, style: _Tone, joint: str = "") -> list[_Clause]:
        for cut in self._cuts(text):
            head = self._act(cut.head, style)
            if head and head.kind != "plain" and not self._shared_verb(head, cut):
                return [replace(head, joint=joint), *self._chain(cut.tail, style, cut.joint)]
        act = self._act(text, style)
        if act:
            return [replace(act, joint=joint)]
        return self._stated_first(text, style, joint) or [_Clause("plain", text, joint)]

    def _shared_verb(self, head: _Clause, cut: _Cut) -> bool:
        """Tell whether "and listen" is part of "i won't sit here and listen" and no command."""
        bare = _bare(cut.tail.partition(" ")[0]) in self._grammar.verbs
        return bare and head.kind == "say" and cut.joint not in ("", "so", "but")

    def _stated_first(self, text: str, style: _Tone, joint: str) -> list[_Clause]:
        """Handle "it's raining so take an umbrella" and "if you see him tell him"."""
        conditional = _bare(text.partition(" ")[0]) in self._conditions
        for cut in self._cuts(text, conditional=conditional):
            link = "," if conditional and not cut.joint else cut.joint
            if link in (",", "so", "but") or self._breaks_off(cut):
                tail = self._chain(cut.tail, style, link)
                if tail[0].kind != "plain":
                    return [_Clause("plain", cut.head, joint), *tail]
        return []

    def _breaks_off(self, cut: _Cut) -> bool:
        """Tell whether a statement is over where something else begins."""
        words = [_bare(word) for word in cut.head.split()]
        if len(words) < 3 or self._reporting.intersection(words):
            return False
        if cut.joint:
            return cut.joint == "and" and bool(self._starts.match(cut.tail))
        return words[-1] in self._closed or words[-1][:1].isdigit() or bool(self._breaks.match(cut.tail))

    def _cuts(self, text: str, *, conditional: bool = False) -> Iterator[_Cut]:
        """Yield the places where something else may begin."""
        for found in self._joint.finditer(text):
            cut = _Cut(text[: found.start()], (found[1] or "").lower(), text[found.end() :])
            if cut.joint:
                begins = self._starts_act(cut)
            elif conditional:
                begins = self._ends_condition(cut.head, found[0]) and self._grammar.is_command(cut.tail)
            else:
                begins = self._runs_on(cut)
            if begins:
                yield cut

    def _ends_condition(self, head: str, joint: str) -> bool:
        words = head.split()
        return len(words) > 2 and (joint.startswith(",") or words[-1].lower() in self._condition_ends)

    def _starts_act(self, cut: _Cut) -> bool:
        if cut.joint.startswith("or") and self._grammar.is_subject(cut.tail):
            return True
        return self._grammar.is_command(cut.tail) or bool(self._starts.match(cut.tail))

    def _runs_on(self, cut: _Cut) -> bool:
        words = [_bare(word) for word in cut.head.split()]
        if words[-1] in self._closed and words[0] not in self._telling and self._grammar.is_subject(cut.tail):
            return True
        if words[-1] in self._not_after or words[0] in self._telling:
            return False
        if self._run_on.match(cut.tail) or self._breaks.match(cut.tail):
            return True
        tail = re.sub(r"(?i)\A(?:just|now|please) ", "", cut.tail)
        return len(words) > 1 and self._grammar.is_clear_command(tail)

    def _act(self, text: str, style: _Tone, *, ruled_only: bool = False) -> _Clause | None:
        core: str | None = text
        while core:
            act = self._ruled(core, style) or (None if ruled_only else self._commanded(core, style))
            if act or (act := self._addressed_act(core, style, ruled_only=ruled_only)):
                return _Clause("plain", text) if act.kind == "plain" else act
            opener = self._opener.match(core)
            core = core[opener.end() :].lstrip(" ,") if opener else None
        return None

    def _addressed_act(self, text: str, style: _Tone, *, ruled_only: bool) -> _Clause | None:
        """Handle "mike, clean your desk" and "no, stop that"."""
        words = text.split()
        lead = 1 if _bare(words[0]) in self._kept | self._greetings else 0
        named = len(words) > lead and _bare(words[lead]) in self._addressed | self._addressed_by_rules
        if not named and _bare(words[0]) not in self._kept:
            return None
        core, last = words[lead + named :], _bare(words[lead + named - 1])
        if not core or (named and _bare(core[0]) in self._grammar.same_past):
            return None
        act = self._ruled(" ".join(core), style)
        if not act and not ruled_only and last not in self._addressed_by_rules:
            act = self._commanded(" ".join(core), style)
        return replace(act, lead=" ".join(words[: lead + named]).rstrip(",")) if act else None

    def _commanded(self, text: str, style: _Tone) -> _Clause | None:
        if not self._grammar.is_command(text) or self._wishes.match(text):
            return None
        return _Clause("ask", self._asked(re.sub(r"(?i)^(?:don't|do not) ", "not ", text), style))

    def _asked(self, text: str, style: _Tone) -> str:
        text = self._swaps.apply(_lower_first(text), soon=style.soon)
        return style.negation + text[3:] if text.startswith("not ") else text

    def _ruled(self, text: str, style: _Tone, *, even_if_polite: bool = False) -> _Clause | None:
        lowered = text.lower()
        for rule in self._rules:
            if rule.needle not in lowered:
                continue
            if (even_if_polite and not rule.even_if_polite) or (rule.tones and style.name not in rule.tones):
                continue
            found = rule.pattern.match(text)
            if found and all(self._grammar.fits(slot, said) for slot, said in found.groupdict("").items() if said):
                if rule.kind == "leave":
                    return _Clause("plain", text)
                act = self._applied(rule, found, style)
                if self._essentials.survive(text, f"{act.text} not" if rule.drops_not else act.text):
                    return act
        return None

    def _applied(self, rule: _Rule, found: re.Match[str], style: _Tone) -> _Clause:
        slots = {slot: self._grammar.inside(said) for slot, said in found.groupdict("").items()}
        if "doing" in slots:
            first, space, rest = slots["doing"].partition(" ")
            slots["doing.do"] = self._grammar.base_form(first) + space + rest
        text = _filled(rule.by_tone.get(style.name, rule.template), slots)
        if rule.kind == "ask":
            return _Clause("ask", self._asked(text, style))
        return _Clause("say", text, after_request=_filled(rule.by_tone.get("after_request", ""), slots))


def _filled(template: str, slots: Mapping[str, str]) -> str:
    return _tidy(_SLOT_OUT.sub(lambda slot: slots[slot[1]], template))


class _Speech:
    """Puts the clauses together again as sentences that do not repeat themselves."""

    def __init__(self, style: _Tone, spoken: Sequence[Sequence[_Clause]]) -> None:
        self._style = style
        self._spoken = spoken
        self._asked = 0
        self._lines: list[str] = []

    def lines(self) -> list[str]:
        """Return the finished sentences, without their capitals."""
        groups = list(_grouped(self._spoken))
        for group in groups:
            self._add(group)
        if self._asked and self._style.closing and not any("thank" in line.lower() for line in self._lines):
            self._lines.append(self._style.closing)
        return self._lines

    def _add(self, group: Sequence[_Clause]) -> None:
        first = group[0]
        line = self._request(group) if first.kind == "ask" else first.text
        if first.after_request and self._asked:
            line = first.after_request
        if first.kind == "plain":
            line += first.end or "."
        if first.lead:
            line = f"{first.lead}, {_lower_first(line)}"
        self._append(line.replace("..", "."), first)

    def _append(self, line: str, first: _Clause) -> None:
        if first.joint.startswith("or"):
            line = f"Otherwise, {line}"
        elif first.joint == "," and self._lines:
            line = f"{self._lines.pop().rstrip('.')}, {_lower_first(line)}"
        elif first.joint in ("so", "but") and first.kind == "ask" and self._lines:
            line = f"{self._lines.pop().rstrip('.')}, {first.joint} {_lower_first(line)}"
        elif first.joint in ("so", "but"):
            line = f"{first.joint.capitalize()} {line}"
        self._lines.append(line)

    def _request(self, group: Sequence[_Clause]) -> str:
        forms = self._style.request
        form = forms[min(self._asked, len(forms) - 1)]
        self._asked += 1
        return form.format(do=_listed(group))


def _grouped(spoken: Sequence[Sequence[_Clause]]) -> Iterator[list[_Clause]]:
    """Yield each clause alone, but commands that can share one request together."""
    group: list[_Clause] = []
    for sentence in spoken:
        for at, clause in enumerate(sentence):
            if group and not (_shares(group, clause) and (at or all(c.kind == "ask" for c in sentence))):
                yield group
                group = []
            group.append(clause)
    if group:
        yield group


def _shares(group: Sequence[_Clause], clause: _Clause) -> bool:
    if clause.kind != "ask" or group[0].kind != "ask" or clause.lead:
        return False
    words = sum(len(c.text.split()) for c in (*group, clause))
    return len(group) < _MERGED_CLAUSES and words <= _MERGED_WORDS


def _listed(group: Sequence[_Clause]) -> str:
    texts = [clause.text for clause in group]
    joints = [clause.joint for clause in group]
    if len(group) == 1:
        return texts[0]
    last = joints[-1] or "and"
    if len(group) > 2 and all(joint in ("", "and") for joint in joints[1:]):
        return f"{', '.join(texts[:-1])}, {last} {texts[-1]}"
    return texts[0] + "".join(f" {joint or 'and'} {text}" for joint, text in zip(joints[1:], texts[1:], strict=True))


def _normalised(text: str, parked: list[str]) -> str:
    """Tidy one piece and park what stands in quotation marks, which nobody may touch."""
    text = _PARKED.sub("", text).replace("’", "'")
    if text.isupper() and len(text.split()) > 2:
        text = text.lower()
    text = _TRAILING_OFF.sub(lambda dots: "." if dots[1] is None else ",", text)
    return " ".join(_QUOTED.sub(lambda quoted: _park(quoted[0], parked), text).split())


def _park(quoted: str, parked: list[str]) -> str:
    if len(parked) > _MOST_PARKED:
        return quoted
    parked.append(quoted)
    return chr(0xE000 + len(parked) - 1)


class Phrasebook:
    """An embedded rewriter; immutable once loaded, so one serves all threads."""

    def __init__(self, book: Mapping[str, Any]) -> None:
        patterns = _Patterns(book)
        names = _words(book["capitals"]["names"].lower())
        self._cleaner = _Cleaner(book, patterns)
        self._grammar = _Grammar(book, patterns, names)
        self._finisher = _Finisher(book, patterns)
        self._splitter = _Splitter(book)
        self._clauses = _Clauses(book, patterns, self._grammar)
        self._tones = {name: _tone(name, entry, patterns) for name, entry in book["tones"].items()}
        self._insults = _Swaps(patterns, book["profanity"]["last"])
        self._only_swearing: str = book["empty"]["profanity"]

    @classmethod
    def load(cls, path: Path = _PHRASES) -> "Phrasebook":
        """Read and compile a phrasebook once."""
        with path.open("rb") as file:
            return cls(tomllib.load(file))

    def polish(self, utterances: Sequence[str], *, tone: str = "polite") -> str:
        """Say politely what was said in pieces separated by pauses.

        Text without anything but fillers comes back tidied ("um" -> "Um."), swearing without anything else as the
        phrasebook's `empty.profanity`, blank text as "". Raises ValueError for a tone the phrasebook lacks.
        """
        if tone not in self._tones:
            raise ValueError(f"unknown tone {tone!r}; the phrasebook has {', '.join(self._tones)}")
        style = self._tones[tone]
        parked: list[str] = []
        pieces = [_normalised(utterance, parked) for utterance in utterances]
        sentences = self._splitter.joined([s for piece in pieces for s in self._cleaned(piece, style)])
        spoken = [self._clauses.of(sentence, style) for sentence in sentences]
        lines = _Speech(style, spoken).lines()
        if not lines:
            return self._nothing_left(pieces)
        finished = " ".join(self._finished(line, style) for line in lines)
        restored = _PARKED.sub(lambda mark: parked[ord(mark[0]) - 0xE000], finished)
        return _CLOSED_TWICE.sub(r"\1", restored)

    def _cleaned(self, piece: str, style: _Tone) -> Iterator[_Sentence]:
        for sentence in self._splitter.sentences(piece):
            text = self._cleaner.clean(sentence.text)
            # Long forms come before the rules as well as after them, or a second pass would hear something new.
            text = self._finisher.long_forms(text) if style.long_forms else text
            if any(letter.isalnum() or _PARKED.match(letter) for letter in text):
                yield replace(sentence, text=text)

    def _nothing_left(self, pieces: Sequence[str]) -> str:
        text = _tidy(" ".join(pieces))
        if not text:
            return ""
        if self._cleaner.swears_only(text):
            return self._only_swearing
        return self._finisher.finish(text.rstrip(".!?")) + "."

    def _finished(self, line: str, style: _Tone) -> str:
        line = self._insults.apply(style.swaps.apply(line))
        if style.long_forms:
            line = self._finisher.long_forms(line)
        return self._finisher.finish(line)
