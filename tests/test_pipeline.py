import io
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import pytest

from refiner.deadline import Deadline
from refiner.errors import RefinementFailed
from refiner.events import OutputDelta, OutputDone, TranscriptDelta, TranscriptDone
from refiner.pipeline import Job, refine
from refiner.transcript import Transcript


class Ears:
    """Hears two segments."""

    def listen(self, file: BinaryIO, *, language: str, deadline: Deadline) -> Iterator[Transcript]:
        """Yield a transcript that grows once, then again unchanged with its length."""
        first = Transcript(9).heard(("send me",), engine="google")
        yield first
        yield first.heard(("the report",), engine="groq")


class Mouth:
    """Writes what it is told to, step by step."""

    model = "a-model"

    def __init__(self, *steps: str) -> None:
        self.steps = steps

    def refine(
        self, utterances: Sequence[str], *, tone: str, language: str, deadline: Deadline, live: bool
    ) -> Iterator[str]:
        """Yield the steps; none at all is a failure."""
        if not self.steps:
            raise RefinementFailed("No.", heard=" ".join(utterances))
        yield from self.steps


def job() -> Job:
    """Make a job without a recording."""
    return Job(io.BytesIO(), "id", "polite", "en-US", Deadline(60))


def test_words_come_out_as_they_are_heard_and_rewritten() -> None:
    """Deltas add up to the texts, and the answer is the last event."""
    *steps, answer = refine(job(), Ears(), Mouth("Could", "Could you?"))
    assert steps == [
        TranscriptDelta("send me"), TranscriptDelta(" the report"), TranscriptDone("send me the report", False),
        OutputDelta("Could"), OutputDelta(" you?"),
    ]  # fmt: skip
    assert isinstance(answer, OutputDone)
    assert (answer.input, answer.output) == ("send me the report", "Could you?")
    assert answer.meta["transcriber"] == "google,groq"
    assert answer.meta["model"] == "a-model"
    assert list(answer.meta["timing_ms"]) == ["decode", "transcribe", "refine", "total"]


def test_a_text_that_changes_its_beginning_is_shown_at_the_end_only() -> None:
    """What tidying takes back is never repeated as a delta."""
    *steps, answer = refine(job(), Ears(), Mouth("Sure", "Could", "Could you?"))
    assert [step.delta for step in steps if isinstance(step, OutputDelta)] == ["Sure"]
    assert isinstance(answer, OutputDone)
    assert answer.output == "Could you?"


def test_a_failure_leaves_its_timings() -> None:
    """Even a request that fails can say where its time went."""
    failed = job()
    with pytest.raises(RefinementFailed):
        list(refine(failed, Ears(), Mouth()))
    assert set(failed.timing_ms) == {"decode", "transcribe", "refine", "total"}
