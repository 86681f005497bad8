"""The way from a recording to a polite sentence: one generator of events, whoever reads them."""

import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, BinaryIO, Protocol

from refiner.deadline import Deadline
from refiner.events import Event, OutputDelta, OutputDone, TranscriptDelta, TranscriptDone
from refiner.facts import missing_facts
from refiner.transcript import Transcript


class Listens(Protocol):
    """Writes down recordings; utils.Transcription is one."""

    def listen(self, file: BinaryIO, *, language: str, deadline: Deadline) -> Iterator[Transcript]:
        """Yield the transcript as it grows."""


class Refines(Protocol):
    """Says things politely; utils.LLM is one."""

    @property
    def model(self) -> str:
        """Return what rewrites, as `meta.model` names it."""

    def refine(
        self, utterances: Sequence[str], *, tone: str, language: str, deadline: Deadline, live: bool
    ) -> Iterator[str]:
        """Yield the polite version as it grows."""


@dataclass
class Job:
    """One recording on its way; `live` asks for words as they come, `timing_ms` and `transcriber` fill up meanwhile."""

    recording: BinaryIO
    request_id: str
    tone: str
    language: str
    deadline: Deadline
    live: bool = False
    transcriber: str = ""
    timing_ms: dict[str, int] = field(default_factory=dict)

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Note how long a step took, whether or not it succeeded."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.timing_ms[step] = round((time.perf_counter() - started) * 1000)


def refine(job: Job, transcription: Listens, llm: Refines) -> Iterator[Event]:
    """Yield the job's events, OutputDone last; raises RequestFailed with what was heard so far in it."""
    with job.timed("total"):
        transcript = yield from _listen(job, transcription)
        output = yield from _rewrite(job, llm, transcript)
    check = {"missing": missing_facts(transcript.text, output, language=job.language)}
    yield OutputDone(transcript.text, output, _meta(job, llm, transcript) | {"check": check})


def _listen(job: Job, transcription: Listens) -> Generator[Event, None, Transcript]:
    transcript, shown = Transcript(0), ""
    with job.timed("transcribe"):
        for transcript in transcription.listen(job.recording, language=job.language, deadline=job.deadline):
            if delta := transcript.text[len(shown) :]:
                yield TranscriptDelta(delta)
            shown = transcript.text
    job.transcriber = ",".join(transcript.engines)
    decoding_ms = round(transcript.decoding_s * 1000)
    job.timing_ms |= {"decode": decoding_ms, "transcribe": max(0, job.timing_ms["transcribe"] - decoding_ms)}
    yield TranscriptDone(transcript.text, transcript.truncated)
    return transcript


def _rewrite(job: Job, llm: Refines, transcript: Transcript) -> Generator[Event, None, str]:
    output, shown = "", ""
    with job.timed("refine"):
        for output in llm.refine(
            transcript.utterances, tone=job.tone, language=job.language, deadline=job.deadline, live=job.live
        ):
            if output.startswith(shown) and (delta := output[len(shown) :]):
                yield OutputDelta(delta)
                shown = output
    return output


def _meta(job: Job, llm: Refines, transcript: Transcript) -> dict[str, Any]:
    return {
        "request_id": job.request_id,
        "tone": job.tone,
        "language": job.language,
        "transcriber": job.transcriber,
        "model": llm.model,
        "truncated": transcript.truncated,
        "words": transcript.words,
        "duration_s": round(transcript.duration_s, 2),
        "timing_ms": {step: job.timing_ms[step] for step in ("decode", "transcribe", "refine", "total")},
    }
