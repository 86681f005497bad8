"""Find out what each sentence does, clause by clause, and say the impolite parts another way."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from refiner.phrasing.grammar import Grammar, lower_first
from refiner.phrasing.rules import Patterns, Rule, Swaps, bare, filled, read_rules, words
from refiner.phrasing.sentences import Sentence

_MOST_WORDS = 150
"""No sentence is longer; what claims to be is left alone, since looking for its clauses takes quadratic time."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One act of speech: `kind` is ask (a request body), say (a finished sentence) or plain (left as it was)."""

    kind: str
    text: str
    joint: str = ""
    lead: str = ""
    end: str = ""
    after_request: str = ""


class Tone:
    """How one tone asks, refuses to wait and writes."""

    def __init__(self, name: str, entry: Mapping[str, Any], patterns: Patterns) -> None:
        self.name = name
        self.requests: Sequence[str] = entry["request"]
        self.negation: str = entry["not"]
        self.soon: str = entry["soon"]
        self.closing: str = entry.get("closing", "")
        self.long_forms: bool = entry.get("long_forms", False)
        self.swaps = Swaps(patterns, entry.get("swap", {}))

    def request(self, asked: int, do: str) -> str:
        """Ask for something after so many other requests, without repeating the words of the last one."""
        first, *further = self.requests
        form = further[(asked - 1) % len(further)] if asked else first
        return form.format(do=do)


class Clauses:
    """Finds out what a sentence does and says the impolite parts another way."""

    def __init__(self, book: Mapping[str, Any], patterns: Patterns, grammar: Grammar) -> None:
        commands, polite, names = book["commands"], book["polite"], book["capitals"]["names"].lower()
        self._grammar = grammar
        self._rules: Sequence[Rule] = list(read_rules(book["rule"], patterns))
        self._polite = patterns.any_of(polite["signs"])
        self._wrapping = patterns.phrase(f"^{polite['wrapping']} {{x}} [please]$")
        self._wishes = patterns.any_of(polite["wishes"], start="^")
        self._opener = patterns.any_of(commands["openers"], start="^")
        self._starts = patterns.any_of(commands["starts"], start="^")
        self._joint = re.compile(rf"(?:, | )(?:({'|'.join(commands['joints'])}) )?", re.IGNORECASE)
        self._greetings, self._kept = words(commands["greetings"]), words(commands["kept"])
        self._by_rules = words(commands["addressed_by_rules"])
        self._addressed = words(f"{commands['addressed']} {names}") | self._by_rules
        self._conditions, self._condition_ends = words(commands["conditions"]), words(commands["condition_ends"])
        self._telling = words(book["run_on"]["telling"])
        self._swaps = Swaps(patterns, commands["swap"])

    def of(self, sentence: Sentence, tone: Tone) -> list[Clause]:
        """Return what a sentence does, clause by clause."""
        clauses = self._sentence(sentence.text, tone)
        last = clauses[-1]
        if last.kind == "plain":
            mark = "?" if self._grammar.is_question(sentence.text) else "."
            clauses[-1] = replace(last, end=sentence.end or mark)
        return clauses

    def _sentence(self, text: str, tone: Tone) -> list[Clause]:
        if text.count(" ") > _MOST_WORDS:
            return [Clause("plain", text)]
        polite, asks = self._polite.search(text), self._grammar.is_question(text)
        if polite or asks:
            act = self._wrapped(text, tone) or (None if polite else self._act(text, tone, ruled_only=True))
            return [act or Clause("plain", text)]
        return [Clause("plain", text)] if self._wishes.match(text) else self._chain(text, tone)

    def _wrapped(self, text: str, tone: Tone) -> Clause | None:
        """Find what stays rude with a "please" or a "could you" around it."""
        wrapped = self._wrapping.match(text)
        bodies = [wrapped["x"], text] if wrapped else [text]
        return next(filter(None, (self._ruled(body, tone, polite=True) for body in bodies)), None)

    def _chain(self, text: str, tone: Tone, joint: str = "") -> list[Clause]:
        for head, link, tail in self._cuts(text):
            act = self._act(head, tone)
            if act and act.kind != "plain":
                if not self._shares_its_verb(act, link, tail):
                    return [replace(act, joint=joint), *self._chain(tail, tone, link)]
            elif self._stands_alone(head, link, tail):
                rest = self._chain(tail, tone, link)
                if rest[0].kind != "plain":
                    return [Clause("plain", head, joint), *rest]
        return [replace(self._act(text, tone) or Clause("plain", text), joint=joint)]

    def _cuts(self, text: str) -> Iterator[tuple[str, str, str]]:
        """Yield what stands before and after each word that may join two clauses, and the word."""
        conditional = bare(text)[0] in self._conditions
        for found in self._joint.finditer(text):
            head, link, tail = text[: found.start()], (found[1] or "").lower(), text[found.end() :]
            if link and self._starts_act(link, tail):
                yield head, link, tail
            elif conditional and not link and self._ends_condition(head, found[0]) and self._grammar.is_command(tail):
                yield head, ",", tail

    def _starts_act(self, link: str, tail: str) -> bool:
        if link.startswith("or") and self._grammar.is_subject(tail):
            return True
        return self._grammar.is_command(tail) or bool(self._starts.match(tail))

    def _ends_condition(self, head: str, space: str) -> bool:
        said = bare(head)
        return len(said) > 2 and (space.startswith(",") or said[-1] in self._condition_ends)

    def _shares_its_verb(self, act: Clause, link: str, tail: str) -> bool:
        """Tell whether "and listen" is part of "i won't sit here and listen" and no command."""
        return bare(tail)[0] in self._grammar.verbs and act.kind == "say" and link not in (",", "so", "but")

    def _stands_alone(self, head: str, link: str, tail: str) -> bool:
        """Tell whether a statement is over: "it's raining" so take an umbrella, "if you see him" tell him."""
        if link == "and":
            return bool(self._starts.match(tail)) and not self._telling.intersection(bare(head))
        return link in (",", "so", "but")

    def _act(self, text: str, tone: Tone, *, ruled_only: bool = False) -> Clause | None:
        core: str | None = text
        while core:
            act = self._ruled(core, tone) or (None if ruled_only else self._commanded(core, tone))
            if act or (act := self._addressed_act(core, tone, ruled_only=ruled_only)):
                return Clause("plain", text) if act.kind == "plain" else act
            opener = self._opener.match(core)
            core = core[opener.end() :].lstrip(" ,") if opener else None
        return None

    def _addressed_act(self, text: str, tone: Tone, *, ruled_only: bool) -> Clause | None:
        """Handle "mike, clean your desk" and "no, stop that"."""
        said = bare(text)
        greeted = said[0] in self._kept | self._greetings
        name = next((word for word in said[greeted : greeted + 1] if word in self._addressed), "")
        *lead, core = text.split(" ", greeted + bool(name))
        if not lead or len(lead) < greeted + bool(name) or not (name or said[0] in self._kept):
            return None
        if name and bare(core)[0] in self._grammar.same_past:
            return None
        act = self._ruled(core, tone)
        if not act and not ruled_only and name not in self._by_rules:
            act = self._commanded(core, tone)
        return replace(act, lead=" ".join(lead).rstrip(",")) if act else None

    def _commanded(self, text: str, tone: Tone) -> Clause | None:
        if not self._grammar.is_command(text) or self._wishes.match(text):
            return None
        return Clause("ask", self._asked(re.sub(r"(?i)^(?:don't|do not) ", "not ", text), tone))

    def _asked(self, text: str, tone: Tone) -> str:
        text = self._swaps.apply(lower_first(text), soon=tone.soon)
        return tone.negation + text[3:] if text.startswith("not ") else text

    def _ruled(self, text: str, tone: Tone, *, polite: bool = False) -> Clause | None:
        lowered = text.lower()
        for rule in self._rules:
            found = rule.needle in lowered and rule.counts(tone.name, polite=polite) and rule.pattern.match(text)
            if found and self._grammar.fits(found.groupdict("")):
                if rule.kind == "leave":
                    return Clause("plain", text)
                act = self._applied(rule, found.groupdict(""), tone)
                kept = self._grammar.essentials(f"{act.text} not" if rule.entry.get("drops_not") else act.text)
                if self._grammar.essentials(text) <= kept:
                    return act
        return None

    def _applied(self, rule: Rule, heard: Mapping[str, str], tone: Tone) -> Clause:
        slots = {slot: self._grammar.inside(said) for slot, said in heard.items()}
        first, space, rest = slots.get("doing", "").partition(" ")
        slots["doing.do"] = self._grammar.base_form(first) + space + rest
        text = rule.said(tone.name, slots)
        if rule.kind == "ask":
            return Clause("ask", self._asked(text, tone))
        return Clause("say", text, after_request=filled(rule.entry.get("after_request", ""), slots))
