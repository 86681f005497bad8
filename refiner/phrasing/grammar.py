"""Tell commands, questions and statements apart by the words of phrases.toml."""

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from refiner.phrasing.rules import Patterns, bare, words

_PRONOUNS = words("i you he she it we they")
_BEING = words("am is are was were")


class Grammar:
    """Knows what a clause does by the words it begins with, and which of its words no rule may lose."""

    def __init__(self, book: Mapping[str, Any], patterns: Patterns) -> None:
        verbs, questions, capitals = book["verbs"], book["questions"], book["capitals"]
        self.verbs, self.past, self.same_past = (words(verbs[key]) for key in ("always", "past", "same_past"))
        self._doubtful, self._alone, self._finite = (words(verbs[key]) for key in ("doubtful", "alone", "finite"))
        self._objects, self._prepositions = words(verbs["objects"]), words(verbs["prepositions"])
        self._prepositional, self._subordinators = words(verbs["prepositional"]), words(verbs["subordinators"])
        self._asking, self._helpers = words(questions["words"]), words(questions["helpers"])
        self._subjects, self._not_before = words(questions["subjects"]), words(questions["not_before"])
        self._always_asks, self._tags = words(questions["always"]), words(questions["tags"])
        self._opener = patterns.any_of(questions["openers"], start="^")
        self._names = words(capitals["names"].lower())
        self.numbers = words(book["numbers"]["words"])
        self._essential = words(capitals["words"].lower()) | self._names | self.numbers
        self._negations = words(book["negations"]["words"])
        self._common = self.verbs | self._subjects | self._objects | self._prepositions

    def is_command(self, text: str) -> bool:
        """Tell whether a clause begins with a verb that orders something."""
        said = bare(text)
        if said[:2] in (["do", "not"], ["don't", "just"]):
            return len(said) > 2 and said[2] in self.verbs
        if said and said[0] in ("don't", "never"):
            return len(said) > 1 and said[1] in self.verbs
        return bool(said) and said[0] in self.verbs and self._orders(said)

    def _orders(self, said: list[str]) -> bool:
        if len(said) == 1:
            return said[0] in self._alone
        first, second, rest = said[0], said[1], said[2:]
        if second in self._finite or (second[:-1] in self.verbs and second.endswith("s")):
            return False
        if first not in self._doubtful or second in self._names:
            return True
        led_by = second in self._prepositions and first in self._prepositional
        return not self._states(rest) and (second in self._objects or led_by or self._goes_on(first, second))

    def _goes_on(self, first: str, second: str) -> bool:
        return (first == "stop" and second.endswith("ing")) or (first == "start" and bool(self.base_form(second)))

    def _states(self, said: list[str]) -> bool:
        """Tell whether a verb follows that is not part of a "who is" or "if it was"."""
        known = (word in self._finite for word in said if word in self._finite or word in self._subordinators)
        return next(known, False)

    def is_clear_command(self, text: str) -> bool:
        """Tell whether a clause orders something to be done to something, beyond doubt."""
        said = bare(text)
        forbids = said[:1] in (["don't"], ["never"]) or said[:2] == ["do", "not"]
        ordered = len(said) > 1 and said[0] in self.verbs and (said[1] in self._objects or self._goes_on(*said[:2]))
        return (forbids or ordered) and self.is_command(text)

    def is_question(self, text: str) -> bool:
        """Tell whether a sentence asks something."""
        said = bare(self._opener.sub("", text))
        if len(said) < 2:
            return said == ["why"]
        if said[1] in self._helpers and said[2:3] == ["you"]:
            said = said[1:]
        first, second = said[:2]
        if first in self._asking:
            return first == "why" or second not in self._not_before or said[:3] == ["what", "kind", "of"]
        if first in self._always_asks or (len(said) > 3 and said[-2] in self._tags):
            return True
        subjects = _PRONOUNS - {"it"} if first in ("do", "have") else self._subjects | self._names
        return first in self._helpers and second in subjects

    def has_verb(self, text: str) -> bool:
        """Tell whether something is said to be or to happen."""
        said = bare(text)
        known = self._finite | self._helpers | self.past
        does = any(before in _PRONOUNS and word in self.verbs for before, word in pairwise(said))
        return does or any(word in known or word.endswith("ed") for word in said[1:]) or "'" in "".join(said)

    def awaits_verb(self, text: str) -> bool:
        """Tell whether a "not" has no verb yet: "you must not under any circumstances" forbids what comes next."""
        said = bare(text)
        known = self.verbs | self.past | self._finite
        for before, word, after in zip(["", *said], said, [*said[1:], ""], strict=False):
            negates = word in ("never", "cannot") or (word == "not" and before not in _BEING and "'" not in before)
            short = word.endswith("n't") and word.removesuffix("n't") not in _BEING
            if (negates or short) and after not in known and not after.endswith("ed"):
                return True
        return False

    def is_subject(self, text: str) -> bool:
        """Tell whether a clause begins with somebody who does something."""
        return text.partition(" ")[0].lower().partition("'")[0] in _PRONOUNS

    def base_form(self, doing: str) -> str:
        """Return the verb of "sending", "making" or "stopping", or nothing when it is not one."""
        stem = doing.lower().removesuffix("ing")
        if stem == doing.lower():
            return ""
        doubled = stem[:-1] if stem[-1:] == stem[-2:-1] else stem
        ie = stem[:-1] + "ie" if stem.endswith("y") else stem
        return next((verb for verb in (stem, stem + "e", doubled, ie) if verb in self.verbs), "")

    def inside(self, text: str) -> str:
        """Return words as they stand inside a sentence: "This" loses its capital, "Siobhan" does not."""
        return lower_first(text) if text and bare(text)[0] in self._common else text

    def fits(self, slots: Mapping[str, str]) -> bool:
        """Tell whether words may fill the slots of a rule."""
        return all(self._fits(slot, bare(said)[0]) for slot, said in slots.items() if said.strip())

    def _fits(self, slot: str, first: str) -> bool:
        if slot in ("do", "order"):
            return first in self.verbs and not (slot == "order" and first in self.same_past)
        if slot == "did":
            return first in self.past or first.endswith("ed")
        return slot != "doing" or bool(self.base_form(first))

    def essentials(self, text: str) -> set[str]:
        """Return the numbers and the names of a text, and "not" for any negation."""
        said = {word.strip(".?!") for word in bare(text)}
        found = {w for w in said if w in self._essential or any(not c.isalpha() and c not in "'-" for c in w)}
        negated = any(word in self._negations or word.endswith("n't") for word in said)
        return found | {"not"} if negated else found


def lower_first(text: str) -> str:
    """Return a text with a small first letter, unless more than one is large."""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]
