import io
import itertools
import tempfile
import threading
from collections.abc import Callable, Iterator
from typing import BinaryIO

import numpy as np
import pytest

from refiner.audio import SAMPLE_RATE_HZ, Pcm
from refiner.deadline import Cancelled, Deadline
from refiner.errors import (
    BadLanguage,
    EngineError,
    NoSpeech,
    RefinementFailed,
    RefinementTimeout,
    TranscriptionFailed,
    TranscriptionTimeout,
    UndecodableAudio,
)
from refiner.recognizers import Heard
from refiner.segments import Recording, Segment
from refiner.settings import Settings
from refiner.transcript import Transcript
from tests.samples import SAID, SAMPLES
from tests.sound import wav
from utils import LLM, Transcription


class Ear:
    """Hears as many words in a segment as it is told to, and notes what it was given."""

    name = "ear"

    def __init__(self, words: Callable[[int], str], *, side_by_side: int = 4) -> None:
        self.words, self.side_by_side = words, side_by_side
        self.heard_s: list[float] = []
        self._number = itertools.count()
        self._lock = threading.Lock()

    def hears(self, language: str) -> bool:
        """Know German only, for the test's sake."""
        return language == "de-DE"

    def recognize(self, segment: Segment, *, language: str, deadline: Deadline) -> Heard:
        """Return the words for the next segment."""
        with self._lock:
            self.heard_s.append(segment.duration_s)
            number = next(self._number)
        text = self.words(number)
        return Heard((text,) if text else (), self.name)


def transcription(ear: Ear, **changes: float) -> Transcription:
    """Make a Transcription around an ear."""
    return Transcription(Settings(**changes), recognizer=ear)  # type: ignore[arg-type]


@pytest.fixture
def talk(blunt: Pcm) -> Iterator[Callable[[int], BinaryIO]]:
    """Recordings of so many repetitions of the sample, with pauses."""
    with tempfile.TemporaryDirectory() as directory:
        open_files: list[BinaryIO] = []

        def record(times: int) -> BinaryIO:
            pause = np.zeros(SAMPLE_RATE_HZ // 2, np.int16)
            file = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  # lives as long as the test
            file.write(wav(np.concatenate([blunt, pause] * times)))
            open_files.append(file)
            return file

        yield record
        for file in open_files:
            file.close()


def words(count: int) -> str:
    """Return so many words."""
    return " ".join(["word"] * count)


def test_both_are_made_without_arguments() -> None:
    """The environment is enough."""
    assert Transcription().engine == "sphinx"
    assert LLM().model == "phrasebook"


@pytest.mark.parametrize("name", ["blunt.wav", "blunt.webm", "long.wav"])
def test_the_samples_are_heard_word_for_word(name: str) -> None:
    """The embedded engine hears what each sample says, up to a hundred words of it."""
    with (SAMPLES / name).open("rb") as file:
        transcript = Transcription().transcribe(file)
    said = SAID[name].split()
    assert transcript.text.split() == said[:100]
    assert transcript.truncated is (len(said) > 100)
    assert transcript.engines == ("sphinx",)


def test_segments_are_recognised_in_order(talk: Callable[[int], BinaryIO]) -> None:
    """However long each one takes, the words come in the order they were said."""
    file = talk(18)
    segments = list(Recording(file, max_audio_s=900, deadline=Deadline(60)).segments())
    places = {segment.pcm.tobytes(): place for place, segment in enumerate(segments)}
    second_is_done = threading.Event()

    class SlowToStart(Ear):
        def recognize(self, segment: Segment, *, language: str, deadline: Deadline) -> Heard:
            place = places[segment.pcm.tobytes()]
            if place == 0:
                second_is_done.wait(10)
            if place == 1:
                second_is_done.set()
            return Heard((f"segment{place}",), self.name)

    transcript = transcription(SlowToStart(words)).transcribe(file)
    assert transcript.text.split() == [f"segment{place}" for place in range(len(segments))]


def test_recognition_stops_when_the_words_are_there(talk: Callable[[int], BinaryIO]) -> None:
    """A long recording costs one wave of segments when that wave has a hundred words."""
    ear = Ear(lambda _: words(40))
    transcript = transcription(ear).transcribe(talk(60))
    assert (transcript.words, transcript.truncated) == (100, True)
    assert 3 <= len(ear.heard_s) <= 4
    assert transcript.duration_s < 120


def test_a_wave_is_as_wide_as_the_missing_words(talk: Callable[[int], BinaryIO]) -> None:
    """Ninety words from four segments leave one more to be recognised, not four."""
    ear = Ear(lambda _: words(23))
    transcript = transcription(ear).transcribe(talk(60))
    assert (transcript.words, len(ear.heard_s)) == (100, 5)


def test_a_slow_talker_gets_all_the_words(talk: Callable[[int], BinaryIO]) -> None:
    """Waves go on until the sound ends when the words come slowly."""
    ear = Ear(lambda _: words(2))
    transcript = transcription(ear).transcribe(talk(60))
    assert transcript.words == 2 * len(ear.heard_s)
    assert not transcript.truncated
    assert sum(ear.heard_s) == pytest.approx(transcript.duration_s, abs=2)


def test_a_full_transcript_with_sound_left_over_is_truncated(talk: Callable[[int], BinaryIO]) -> None:
    """Exactly a hundred words and more to hear: somebody should know that there was more."""
    transcript = transcription(Ear(lambda _: words(25))).transcribe(talk(60))
    assert (transcript.words, transcript.truncated) == (100, True)


def test_a_transcript_that_just_fits_is_whole(talk: Callable[[int], BinaryIO]) -> None:
    """A hundred words in one breath are not truncated."""
    transcript = transcription(Ear(lambda _: words(100))).transcribe(talk(2))
    assert (transcript.words, transcript.truncated) == (100, False)


def test_segments_in_which_nothing_is_heard_are_passed_over(talk: Callable[[int], BinaryIO]) -> None:
    """A cough in between costs no words."""
    ear = Ear(lambda number: "" if number == 1 else f"s{number}", side_by_side=1)
    transcript = transcription(ear).transcribe(talk(14))
    assert transcript.text.split() == [f"s{number}" for number in range(len(ear.heard_s)) if number != 1]


def test_listening_ends_at_max_audio(talk: Callable[[int], BinaryIO]) -> None:
    """Where words do not come, MAX_AUDIO_S is the end, and the transcript says so."""
    transcript = transcription(Ear(lambda _: words(1)), max_audio_s=60.0).transcribe(talk(60))
    assert transcript.truncated
    assert transcript.duration_s == pytest.approx(60, abs=1)


def test_nothing_heard_at_all_is_no_speech(talk: Callable[[int], BinaryIO]) -> None:
    """An engine that hears nothing anywhere is not an answer."""
    with pytest.raises(NoSpeech):
        transcription(Ear(lambda _: "")).transcribe(talk(1))


@pytest.mark.parametrize(("timed_out", "failure"), [(False, TranscriptionFailed), (True, TranscriptionTimeout)])
@pytest.mark.parametrize("times", [1, 14])
def test_a_failing_segment_ends_the_request_with_the_words_so_far(
    timed_out: bool, failure: type[Exception], times: int, talk: Callable[[int], BinaryIO]
) -> None:
    """What was heard before is handed over, whether one segment or several were on their way."""
    last = 0 if times == 1 else 2

    def hear(number: int) -> str:
        if number == last:
            raise EngineError("The engine is away.", timed_out=timed_out, retry_after_s=9)
        return f"s{number}"

    ear = Ear(hear, side_by_side=1)
    with pytest.raises(failure, match="The engine is away") as failed:
        transcription(ear).transcribe(talk(times))
    assert failed.value.heard == (None if times == 1 else "s0 s1")  # type: ignore[attr-defined]
    assert failed.value.retry_after_s == 9  # type: ignore[attr-defined]


def test_running_out_of_time_hands_over_the_words_so_far(talk: Callable[[int], BinaryIO]) -> None:
    """The request's deadline is a timeout of the transcription."""
    now = 0.0
    deadline = Deadline(60, clock=lambda: now)

    def hear(number: int) -> str:
        nonlocal now
        now += 45
        return f"s{number}"

    with pytest.raises(TranscriptionTimeout) as failed:
        list(transcription(Ear(hear, side_by_side=1)).listen(talk(14), deadline=deadline))
    assert failed.value.heard in {"s0", "s0 s1"}


def test_a_transcript_grows_before_the_last_segment_is_heard(talk: Callable[[int], BinaryIO]) -> None:
    """Words are handed out as soon as they are known."""
    last = threading.Event()

    def hear(number: int) -> str:
        if number == 3:
            last.wait(10)
        return f"s{number}"

    growing: Iterator[Transcript] = transcription(Ear(hear)).listen(talk(14))
    assert next(growing).text == "s0"
    last.set()
    assert [*growing][-1].text.startswith("s0 s1 s2")


def test_nobody_waiting_stops_the_listening(talk: Callable[[int], BinaryIO]) -> None:
    """After a cancel no further segment is recognised."""
    deadline = Deadline(60)
    ear = Ear(lambda _: words(1), side_by_side=1)
    growing = transcription(ear).listen(talk(60), deadline=deadline)
    next(growing)
    deadline.cancel()
    with pytest.raises(Cancelled):
        list(growing)
    assert len(ear.heard_s) <= 2


def test_what_is_no_recording_is_undecodable() -> None:
    """The decoder's refusal goes through untouched, for files in memory as well."""
    with pytest.raises(UndecodableAudio):
        Transcription().transcribe(io.BytesIO(b"no sound"))


def test_a_language_nobody_hears_is_refused_beforehand() -> None:
    """Before any work starts."""
    listener = transcription(Ear(lambda _: ""))
    listener.require("de-DE")
    with pytest.raises(BadLanguage, match="fr-FR"):
        listener.require("fr-FR")


class Pen:
    """Writes or fails as told."""

    name = "pen"

    def __init__(self, result: str | Exception) -> None:
        self.result = result

    def rewrite(self, utterances: object, **_: object) -> Iterator[str]:
        """Yield the result or raise it."""
        if isinstance(self.result, Exception):
            raise self.result
        yield self.result


def test_the_model_says_it_politely() -> None:
    """query_llm takes a text and returns one."""
    assert LLM(Settings(), rewriter=Pen("Please.")).query_llm("now") == "Please."


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (EngineError("Away.", retry_after_s=4), RefinementFailed),
        (EngineError("Late.", timed_out=True), RefinementTimeout),
    ],
)
def test_a_failing_model_loses_nothing(error: EngineError, failure: type[RefinementFailed]) -> None:
    """The transcript comes back with the failure."""
    with pytest.raises(failure, match=str(error)) as failed:
        LLM(Settings(), rewriter=Pen(error)).query_llm("send me the report")
    assert failed.value.heard == "send me the report"
    assert failed.value.retry_after_s == error.retry_after_s


def test_rewriting_ends_with_the_requests_time() -> None:
    """No time left is a timeout of the refinement."""
    over = Deadline(0)
    with pytest.raises(RefinementTimeout) as failed:
        list(LLM().refine(["send me", "the report"], deadline=over))
    assert failed.value.heard == "send me the report"
