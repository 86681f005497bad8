"""Say impolite speech politely with rules alone, for when there is no language model."""

import argparse
import re
import signal
import sys
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from refiner.phrasing.clauses import Clause, Clauses, Tone
from refiner.phrasing.grammar import Grammar, lower_first
from refiner.phrasing.rules import Patterns, Swaps, tidy
from refiner.phrasing.sentences import Cleaner, Cutter, Finisher, Sentence

# Measured before deciding against them: better-profanity needs 5 ms per sentence and masks words where grammar asks
# for another word; lemminflect costs 230 ms and inflect 1.8 s at start. The few verb forms needed here follow from
# the verb list itself, so words are data (phrases.toml) and there is no dependency.

_PHRASES = Path(__file__).with_name("phrases.toml")
_QUOTED = re.compile(r'"[^"]*"|“[^”]*”|«[^»]*»')
_PARKED = re.compile("[\ue000-\uf8ff]")
_MOST_PARKED = 6000
_TRAILING_OFF = re.compile(r"(?:\.{2,}|…)(?:(?=\s+[a-z])()|(?=\s|$))")
_CLOSED_TWICE = re.compile(r"([.!?…][\"”»])[.](?=\s|$)")
_MERGED_CLAUSES, _MERGED_WORDS = 3, 18
_NEGATIONS = ("not ", "don't ", "do not ", "never ")


class _Speech:
    """Puts the clauses together again as sentences that do not repeat themselves."""

    def __init__(self, tone: Tone) -> None:
        self._tone = tone
        self._asked = 0
        self._lines: list[str] = []

    def lines(self, spoken: Iterable[Sequence[Clause]]) -> list[str]:
        """Return the finished sentences, without their capitals."""
        for group in _grouped(spoken):
            self._add(group)
        if self._asked and self._tone.closing and not any("thank" in line.lower() for line in self._lines):
            self._lines.append(self._tone.closing)
        return self._lines

    def _add(self, group: Sequence[Clause]) -> None:
        first = group[0]
        line = first.after_request if first.after_request and self._asked else first.text
        if first.kind == "ask":
            line = self._tone.request(self._asked, _listed(group))
            self._asked += 1
        elif first.kind == "plain":
            line += first.end or "."
        if first.lead:
            line = f"{first.lead}, {lower_first(line)}"
        self._append(line.replace("..", "."), first)

    def _append(self, line: str, first: Clause) -> None:
        asks_why = first.joint in ("so", "but") and first.kind == "ask"
        if first.joint.startswith("or"):
            line = f"Otherwise, {line}"
        elif self._lines and (first.joint == "," or asks_why):
            joint = first.joint if asks_why else ""
            line = f"{self._lines.pop().rstrip('.')}, {joint} {lower_first(line)}"
        elif first.joint in ("so", "but"):
            line = f"{first.joint} {line}"
        self._lines.append(" ".join(line.split()))


def _grouped(spoken: Iterable[Sequence[Clause]]) -> Iterator[list[Clause]]:
    """Yield each clause alone, but commands that can share one request together."""
    group: list[Clause] = []
    for clause in chain.from_iterable(spoken):
        if group and not _shares(group, clause):
            yield group
            group = []
        group.append(clause)
    if group:
        yield group


def _shares(group: Sequence[Clause], clause: Clause) -> bool:
    if clause.kind != "ask" or group[0].kind != "ask" or clause.lead:
        return False
    if group[-1].text.startswith(_NEGATIONS) and not clause.text.startswith(_NEGATIONS):
        return False  # "not just stand there and help me" would ask for neither
    length = sum(len(c.text.split()) for c in (*group, clause))
    return len(group) < _MERGED_CLAUSES and length <= _MERGED_WORDS


def _listed(group: Sequence[Clause]) -> str:
    first, *others = group
    joints = [clause.joint or "and" for clause in others]
    if len(others) > 1 and all(clause.joint in ("", "and") for clause in others):
        joints = [","] * (len(others) - 1) + [", and"]
    listed = "".join(f" {joint} {clause.text}" for joint, clause in zip(joints, others, strict=True))
    return first.text + listed.replace(" ,", ",")


class Phrasebook:
    """An embedded rewriter; immutable once loaded, so one serves all threads."""

    def __init__(self, book: Mapping[str, Any]) -> None:
        patterns = Patterns(book)
        grammar = Grammar(book, patterns)
        self._cleaner = Cleaner(book, patterns, grammar)
        self._cutter = Cutter(book, patterns, grammar)
        self._finisher = Finisher(book, patterns)
        self._clauses = Clauses(book, patterns, grammar)
        self._tones = {name: Tone(name, entry, patterns) for name, entry in book["tones"].items()}
        self._insults = Swaps(patterns, book["profanity"]["last"])
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
        style, parked = self._tones[tone], list[str]()
        pieces = [_normalised(utterance, parked) for utterance in utterances]
        sentences = self._cutter.joined([s for piece in pieces for s in self._cleaned(piece, style)])
        spoken = (self._clauses.of(cut, style) for sentence in sentences for cut in self._cutter.cut(sentence))
        lines = _Speech(style).lines(spoken)
        if not lines:
            return self._nothing_left(pieces)
        finished = " ".join(self._finished(line, style) for line in lines)
        restored = _PARKED.sub(lambda mark: parked[ord(mark[0]) - 0xE000], finished)
        return _CLOSED_TWICE.sub(r"\1", restored)

    def _cleaned(self, piece: str, style: Tone) -> Iterator[Sentence]:
        for sentence in self._cutter.sentences(piece):
            text = self._cleaner.clean(sentence.text)
            # Long forms come before the rules as well as after them, or a second pass would hear something new.
            text = self._finisher.long_forms(text) if style.long_forms else text
            if any(letter.isalnum() or _PARKED.match(letter) for letter in text):
                yield replace(sentence, text=text)

    def _nothing_left(self, pieces: Sequence[str]) -> str:
        text = tidy(" ".join(pieces))
        if not text:
            return ""
        if self._cleaner.swears_only(text):
            return self._only_swearing
        return self._finisher.finish(text.rstrip(".!?")) + "."

    def _finished(self, line: str, style: Tone) -> str:
        line = self._insults.apply(style.swaps.apply(line))
        if style.long_forms:
            line = self._finisher.long_forms(line)
        return self._finisher.finish(line)


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


def main() -> None:
    """Answer each line of the input with its polite version."""
    parser = argparse.ArgumentParser(prog="python -m refiner.phrasebook", description="Say each line politely.")
    parser.add_argument("--tone", default="polite", help="polite, formal, friendly or concise")
    tone, book = parser.parse_args().tone, Phrasebook.load()
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `| head` ends this quietly
    if sys.stdin.isatty():
        print("Say something blunt and press Enter; Ctrl-D ends.", file=sys.stderr)
    try:
        for line in sys.stdin:
            print(book.polish([line], tone=tone), flush=True)
    except KeyboardInterrupt:
        print()
    except ValueError as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()
