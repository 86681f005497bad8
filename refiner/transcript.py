"""What was said: the first words of a recording, as far as they are known."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from refiner.text import count_words, truncate


@dataclass(frozen=True)
class Transcript:
    """The recogniser's wording, at most `max_words` of it, in utterances as pauses divide it.

    `truncated` is true only when more was said, or left unheard, than the utterances hold; `duration_s` is the
    recording's length as far as it was decoded, which took `decoding_s`; `engines` are the recognisers that heard it.
    """

    max_words: int
    utterances: tuple[str, ...] = ()
    truncated: bool = False
    duration_s: float = 0.0
    decoding_s: float = 0.0
    engines: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """Return the utterances as one line of text."""
        return " ".join(self.utterances)

    @property
    def words(self) -> int:
        """Return how many words there are."""
        return count_words(self.text)

    @property
    def full(self) -> bool:
        """Tell whether no further word has room, or is wanted after the end of the last sentence that had."""
        return self.truncated or self.words >= self.max_words

    def heard(self, utterances: Iterable[str], *, engine: str) -> "Transcript":
        """Return the transcript with more utterances, cut off at the last word that has room."""
        kept, truncated = list(self.utterances), self.truncated
        room = self.max_words - self.words
        for utterance in utterances:
            fitting = truncate(utterance, room) if room else ""
            kept += [fitting] if fitting else []
            if truncated := truncated or fitting != utterance:
                break
            room -= count_words(fitting)
        engines = self.engines if engine in self.engines else (*self.engines, engine)
        return replace(self, utterances=tuple(kept), truncated=truncated, engines=engines)
