"""The service's two collaborators: Transcription writes down what was said, LLM says it politely."""

import math
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from functools import partial
from itertools import chain, islice
from typing import BinaryIO

from refiner.deadline import Deadline, DeadlineExceeded
from refiner.errors import (
    BadLanguage,
    EngineError,
    NoSpeech,
    RefinementFailed,
    RefinementTimeout,
    TranscriptionFailed,
    TranscriptionTimeout,
)
from refiner.prompts import DEFAULT_TONE
from refiner.recognizers import Heard, Recognizer, build_recognizer
from refiner.rewriters import Rewriter, build_rewriter
from refiner.segments import Recording, Segment
from refiner.settings import Settings
from refiner.transcript import Transcript

_POLL_S = 0.25


class Transcription:
    """Write down the first words of a recording; one per process, used by all its threads.

    Nothing is connected or started before the first recording, so it may be made before a fork.
    """

    def __init__(self, settings: Settings | None = None, *, recognizer: Recognizer | None = None) -> None:
        self._settings = settings or Settings.from_environ()
        self.recognizer = recognizer or build_recognizer(self._settings)
        self._threads = ThreadPoolExecutor(self.recognizer.side_by_side * self._settings.max_in_flight, "recognize")

    @property
    def engine(self) -> str:
        """Return what listens, as TRANSCRIBER names it."""
        return self.recognizer.name

    def require(self, language: str) -> None:
        """Raise BadLanguage when no configured engine hears this language."""
        if not self.recognizer.hears(language):
            raise BadLanguage(f"'{language}' is not a language this server's recogniser ({self.engine}) hears.")

    def transcribe(self, file: BinaryIO, *, language: str | None = None) -> Transcript:
        """Return the transcript of a recording; raises as `listen` does."""
        *_, transcript = self.listen(file, language=language)
        return transcript

    def listen(
        self, file: BinaryIO, *, language: str | None = None, deadline: Deadline | None = None
    ) -> Iterator[Transcript]:
        """Yield the transcript as it grows, segment by segment, until MAX_WORDS are there or the sound ends.

        Raises UndecodableAudio, NoSpeech, and TranscriptionFailed or TranscriptionTimeout with the words so far;
        Cancelled when nobody waits any more.
        """
        deadline = deadline or Deadline(self._settings.request_timeout_s)
        recording = Recording(file, max_audio_s=self._settings.max_audio_s, deadline=deadline)
        transcript = Transcript(self._settings.max_words)
        try:
            for transcript in self._listen(recording, language or self._settings.language, deadline):
                yield transcript
        except EngineError as error:
            failure = TranscriptionTimeout if error.timed_out else TranscriptionFailed
            raise failure(str(error), heard=transcript.text or None, retry_after_s=error.retry_after_s) from error
        except DeadlineExceeded as error:
            message = "Writing down the recording took too long. Send a shorter one or try again."
            raise TranscriptionTimeout(message, heard=transcript.text or None) from error
        if not transcript.utterances:
            raise NoSpeech

    def _listen(self, recording: Recording, language: str, deadline: Deadline) -> Iterator[Transcript]:
        transcript = Transcript(self._settings.max_words)
        segments = recording.segments()
        recognize = partial(self.recognizer.recognize, language=language, deadline=deadline)
        wave: deque[Future[Heard]] = deque()
        most = size = self.recognizer.side_by_side
        heard_segments = 0
        try:
            while not transcript.full and (wave := self._start_wave(islice(segments, size), recognize)):
                while wave and not transcript.full:
                    heard = _result(wave.popleft(), deadline)
                    transcript = transcript.heard(heard.utterances, engine=heard.engine)
                    heard_segments += 1
                    yield transcript
                size = min(most, _segments_missing(transcript, heard_segments))
            unheard = transcript.truncated or recording.cut_off or bool(wave) or next(segments, None) is not None
            yield replace(
                transcript, truncated=unheard, duration_s=recording.decoded_s, decoding_s=recording.decoding_s
            )
        finally:
            for future in wave:
                future.cancel()

    def _start_wave(self, segments: Iterator[Segment], recognize: Callable[[Segment], Heard]) -> "deque[Future[Heard]]":
        """Start recognising each segment as soon as it is cut; one that is alone stays in the calling thread."""
        first, second = next(segments, None), next(segments, None)
        if first is None:
            return deque()
        if second is None:
            return deque([_run_here(recognize, first)])
        return deque(self._threads.submit(recognize, segment) for segment in chain((first, second), segments))


def _segments_missing(transcript: Transcript, heard_segments: int) -> int:
    """Guess how many more segments hold the missing words, from those heard so far; at least one."""
    words_per_segment = max(1.0, transcript.words / max(1, heard_segments))
    return max(1, math.ceil((transcript.max_words - transcript.words) / words_per_segment))


def _run_here(recognize: Callable[[Segment], Heard], segment: Segment) -> Future[Heard]:
    future: Future[Heard] = Future()
    future.set_result(recognize(segment))
    return future


def _result(future: Future[Heard], deadline: Deadline) -> Heard:
    """Wait for a segment, but only as long as somebody waits for the answer."""
    while not future.done():
        deadline.check()
        wait([future], timeout=min(_POLL_S, deadline.remaining_s))
    return future.result()


class LLM:
    """Say the same thing politely; one per process, used by all its threads."""

    def __init__(self, settings: Settings | None = None, *, rewriter: Rewriter | None = None) -> None:
        self._settings = settings or Settings.from_environ()
        self.rewriter = rewriter or build_rewriter(self._settings)

    @property
    def model(self) -> str:
        """Return what rewrites, as `meta.model` names it."""
        return self.rewriter.name

    def query_llm(self, text: str, *, tone: str = DEFAULT_TONE, language: str | None = None) -> str:
        """Return the polite version of `text`; raises as `refine` does."""
        *_, output = self.refine([text], tone=tone, language=language)
        return output

    def refine(
        self,
        utterances: Sequence[str],
        *,
        tone: str = DEFAULT_TONE,
        language: str | None = None,
        deadline: Deadline | None = None,
        live: bool = False,
    ) -> Iterator[str]:
        """Yield the polite version, each time the whole of it so far; `live` asks the model to write as it goes.

        Raises RefinementFailed or RefinementTimeout, which carry the utterances; Cancelled when nobody waits.
        """
        heard = " ".join(utterances)
        deadline = deadline or Deadline(self._settings.request_timeout_s)
        spoken = language or self._settings.language
        try:
            yield from self.rewriter.rewrite(utterances, tone=tone, language=spoken, deadline=deadline, live=live)
        except EngineError as error:
            failure = RefinementTimeout if error.timed_out else RefinementFailed
            raise failure(str(error), heard=heard, retry_after_s=error.retry_after_s) from error
        except DeadlineExceeded as error:
            raise RefinementTimeout("Rewriting took too long. Please try again.", heard=heard) from error
