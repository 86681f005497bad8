"""Make sentences of speech: clean it, cut and join it where thoughts end, put case and punctuation right."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from refiner.phrasing.grammar import Grammar
from refiner.phrasing.rules import Patterns, Swaps, bare, tidy, words

_SENTENCE_END = re.compile(r"[.!?…]+(?=\s|$)")
_STUTTER = re.compile(r"(?<!\S)([^\s,]+(?: [^\s,]+){0,4}),? (?=(\1)(?![^\s,]))", re.IGNORECASE)

_LONGEST, _AHEAD = 600, 200
"""How many letters to look back and ahead where a sentence may begin: more than any sentence spoken has."""


class Cleaner:
    """Takes out of speech what nobody meant to say: fillers, stutters, false starts, swearing."""

    def __init__(self, book: Mapping[str, Any], patterns: Patterns, grammar: Grammar) -> None:
        self._noise = patterns.any_of(book["fillers"]["always"].split())
        self._swearing = patterns.any_of(book["profanity"]["always"].split())
        tables = (book["slang"], book["fillers"]["swap"], book["profanity"]["swap"])
        self._swaps = [Swaps(patterns, table) for table in tables]
        unfinished = "|".join(map(re.escape, book["repeats"]["unfinished"].split()))
        false_start = rf"(?<!\S)(\S+ \S+)(?: \S+)? (?:{unfinished}),? (?=(\1)(?!\S))"
        self._false_start = re.compile(false_start, re.IGNORECASE)
        self._meant_twice = words(book["repeats"]["meant"])
        self._numbers = grammar.numbers

    def clean(self, text: str) -> str:
        """Return what was meant to be said."""
        text = self._once(tidy(self._noise.sub("", text)))
        for swaps in self._swaps:
            text = swaps.apply(text)
        return self._once(tidy(self._swearing.sub("", text)))

    def swears_only(self, text: str) -> bool:
        """Tell whether nothing is left of a text because it was swearing rather than hesitating."""
        return any(letter.isalnum() for letter in self._noise.sub("", text))

    def _once(self, text: str) -> str:
        before = ""
        while text != before:
            before = text
            text = self._false_start.sub(self._unless_meant, _STUTTER.sub(self._unless_meant, text))
        return text

    def _unless_meant(self, found: re.Match[str]) -> str:
        """Keep numbers, "very very" and "New York New York"; drop other words said twice."""
        said, again = bare(found[0]), found[2]
        counted = any(word in self._numbers or any(c.isdigit() for c in word) for word in said)
        twice = len(said) == 1 and (said[0] in self._meant_twice or (found[0].istitle() and again.istitle()))
        return found[0] if counted or twice else ""


@dataclass(frozen=True, slots=True)
class Sentence:
    """The words of a sentence and the mark that ended it, if any was heard."""

    text: str
    end: str = ""


class Cutter:
    """Cuts pieces of speech into sentences and joins the ones a pause has torn apart."""

    def __init__(self, book: Mapping[str, Any], patterns: Patterns, grammar: Grammar) -> None:
        joining, abbreviations, running = book["joining"], book["abbreviations"], book["run_on"]
        self._ends, self._starts = words(joining["ends"]), words(joining["starts"])
        self._starts_if_short, self._short = words(joining["starts_if_short"]), int(joining["short"])
        self._comma = words(joining["comma"])
        self._abbreviations, self._may_end = words(abbreviations["words"]), words(abbreviations["may_end"])
        self._before_number = words(abbreviations["before_number"])
        self._grammar = grammar
        self._begins, self._closed = patterns.any_of(running["begins"]), patterns.any_of(running["closed"], end="$")
        self._polite = patterns.any_of(book["polite"]["signs"])
        self._hanging = patterns.any_of(running["hanging"])
        self._addressed = patterns.any_of(running["addressed"], start="^")
        self._never_after, self._conditions = words(running["never_after"]), words(book["commands"]["conditions"])
        self._telling, self._watching = words(running["telling"]), words(running["watching"])

    def sentences(self, piece: str) -> Iterator[Sentence]:
        """Yield the sentences of one piece, each with its closing punctuation."""
        begin = 0
        for found in _SENTENCE_END.finditer(piece):
            word = piece[: found.start()].rpartition(" ")[2].lower().lstrip("(\"'")
            if self._closes(word, found[0], piece[found.end() :].lstrip()):
                # The full stop of "p.m." stays with its word.
                kept = found.start() + (found[0] == "." and word in self._abbreviations)
                yield Sentence(piece[begin:kept].strip(), next((mark for mark in "?!" if mark in found[0]), "."))
                begin = found.end()
        if piece[begin:].strip():
            yield Sentence(piece[begin:].strip())

    def _closes(self, word: str, marks: str, follows: str) -> bool:
        if marks != ".":
            return True
        if word in self._before_number:
            return not follows[:1].isdigit()
        if word in self._abbreviations:
            return not follows or (word in self._may_end and follows[:1].isupper())
        return True

    def joined(self, sentences: Sequence[Sentence]) -> list[Sentence]:
        """Put together what obviously goes on after a pause."""
        whole: list[Sentence] = []
        for sentence in sentences:
            if whole and not whole[-1].end and self._goes_on(bare(whole[-1].text), bare(sentence.text)):
                comma = "," if bare(sentence.text)[0] in self._comma else ""
                whole[-1] = Sentence(f"{whole[-1].text}{comma} {sentence.text}", sentence.end)
            else:
                whole.append(sentence)
        return whole

    def _goes_on(self, before: list[str], after: list[str]) -> bool:
        if before[-1] in self._ends or after[0] in self._starts:
            return True
        return after[0] in self._starts_if_short and len(after) <= self._short

    def cut(self, sentence: Sentence) -> Iterator[Sentence]:
        """Yield the sentences that were spoken without a pause, wherever it is beyond doubt that a new one begins."""
        text, begin = sentence.text, 0
        for space in re.finditer(",? ", text):
            if space.start() - begin > _LONGEST:
                break
            head, tail = text[begin : space.start()], text[space.end() : space.end() + _AHEAD]
            if self._begins_anew(head, tail) and self._is_over(head):
                yield Sentence(head)
                begin = space.end()
        yield replace(sentence, text=text[begin:])

    def _begins_anew(self, head: str, tail: str) -> bool:
        if self._begins.match(tail):
            return True
        closed = self._closed.search(head)
        ended = closed and bare(head[: closed.start()])[-1:] not in (["and"], ["but"], ["so"])
        if ended and self._grammar.is_subject(tail):
            return True
        order = re.sub(r"(?i)\A(?:just|now|please|then) ", "", tail)
        if not self._grammar.is_clear_command(order) or self._watching.intersection(bare(head)[-4:]):
            return False
        if self._grammar.is_command(head):
            return not self._polite.search(head)
        open_yet = self._polite.search(head) or self._grammar.is_question(head) or self._grammar.awaits_verb(head)
        return not open_yet and bool(ended or self._addressed.match(order))

    def _is_over(self, head: str) -> bool:
        said = bare(head)
        short = "'" in said[-1] and not self._closed.search(said[-1])
        if short or said[-1] in self._never_after or said[0] in self._conditions or self._hanging.search(head):
            return False
        if self._grammar.is_command(head):
            return said[0] not in self._telling
        return len(re.split("[ ']", head)) > 2 and not self._telling.intersection(said) and self._grammar.has_verb(head)


class Finisher:
    """Puts case and punctuation right."""

    def __init__(self, book: Mapping[str, Any], patterns: Patterns) -> None:
        capitals, contractions = book["capitals"], book["contractions"]
        listed = [*capitals["words"].split(), *capitals["names"].split(), *capitals["phrases"], "I"]
        self._capitals = {word.lower(): word for word in listed}
        self._phrases = patterns.any_of([phrase.lower() for phrase in capitals["phrases"]])
        self._in_company = [patterns.phrase(heard) for heard in capitals["in_company"]]
        self._commas, self._turned = Swaps(patterns, book["commas"]), Swaps(patterns, book["long_forms"])
        self._contractions = contractions
        self._contracted = re.compile(rf"\b({'|'.join(contractions)})\b", re.IGNORECASE)

    def finish(self, text: str) -> str:
        """Return a sentence with its capitals and the commas that speech leaves out."""
        text = _WORD.sub(self._written, self._commas.apply(text))
        text = self._phrases.sub(self._written, text)
        for pattern in self._in_company:
            text = pattern.sub(_named, text)
        return _capitalised(text)

    def _written(self, found: re.Match[str]) -> str:
        written: str = self._capitals.get(found[0].lower(), found[0])
        return written

    def long_forms(self, text: str) -> str:
        """Write out "I'm", "don't" and the like."""
        return self._contracted.sub(self._long_form, self._turned.apply(text))

    def _long_form(self, found: re.Match[str]) -> str:
        long: str = self._contractions[found[0].lower()]
        return long.capitalize() if found[0][0].isupper() else long


_WORD = re.compile(r"(?<!\S)[a-z]+(?=(?:'[a-z]+)?[^\w\s]*(?!\S))")


def _named(found: re.Match[str]) -> str:
    at = found.start("name") - found.start()
    return found[0][:at] + found[0][at].upper() + found[0][at + 1 :]


def _capitalised(text: str) -> str:
    """Give a text its first capital, unless it begins with a number, a quotation, an address or an odd name."""
    first = re.search(r"[^\W_]|[\ue000-\uf8ff]", text)
    if not first or not first[0].isalpha():
        return text
    at = first.start()
    word = text[at:].split(" ", 1)[0]
    odd = "@" in word or "://" in word or word[1:] != word[1:].lower() or "." in word.rstrip(".?!,")
    return text if odd else text[:at] + text[at].upper() + text[at + 1 :]
