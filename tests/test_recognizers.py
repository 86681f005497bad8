import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import soundfile
import speech_recognition as sr

from refiner.audio import SAMPLE_RATE_HZ, Pcm
from refiner.deadline import Deadline
from refiner.errors import EngineError
from refiner.recognizers import (
    COOL_DOWN_S,
    FailoverRecognizer,
    Heard,
    PackagedRecognizer,
    Recognizer,
    build_recognizer,
    encode_flac,
)
from refiner.segments import Segment
from refiner.settings import Settings, SettingsError
from tests import upstreams as fakes
from tests.upstreams import Behaviour, Upstreams


def google(running: Upstreams, **changes: Any) -> Recognizer:
    """Make the Google recogniser for the fake."""
    settings: dict[str, Any] = {"google_speech_url": running.google_url, "upstream_timeout_s": 0.5}
    return build_recognizer(Settings(transcriber=("google",), **settings | changes))


def whisper(running: Upstreams, **changes: Any) -> Recognizer:
    """Make the Whisper recogniser for the fake."""
    settings: dict[str, Any] = {"stt_base_url": running.openai_url, "upstream_timeout_s": 0.5}
    return build_recognizer(Settings(transcriber=("groq",), **settings | changes))


Make = Callable[..., Recognizer]


def recognize(recognizer: Recognizer, pcm: Pcm, language: str = "en-US") -> Heard:
    """Recognise one segment without hurry."""
    return recognizer.recognize(Segment(pcm), language=language, deadline=Deadline(30))


def test_flac_is_lossless(blunt: Pcm) -> None:
    """What is sent is what was recorded, at 16 kHz."""
    decoded, rate_hz = soundfile.read(io.BytesIO(encode_flac(blunt)), dtype="int16")
    assert rate_hz == SAMPLE_RATE_HZ
    assert np.array_equal(decoded, blunt)


def test_google_is_sent_the_segment_as_speechrecognition_sends_it(upstreams: Upstreams, blunt: Pcm) -> None:
    """FLAC, the language, the public key unless another one is set; its best hypothesis comes back."""
    sounds: list[Pcm] = []

    def hear(heard: fakes.Heard) -> str:
        sounds.append(heard.pcm)
        return "send me the report"

    upstreams.google.hears = hear
    assert recognize(google(upstreams), blunt, "en-GB") == Heard(("send me the report",), "google")
    (request,) = upstreams.google.requests
    assert np.array_equal(sounds[0], blunt)
    assert (request.query["client"], request.query["lang"]) == ("chromium", "en-GB")
    assert request.headers["Content-Type"] == "audio/x-flac; rate=16000"
    assert request.query["key"].startswith("AIza")
    recognize(google(upstreams, google_speech_key="mine"), blunt)
    assert upstreams.google.requests[-1].query["key"] == "mine"


def test_the_default_endpoint_is_secure() -> None:
    """Recordings do not cross the network in the clear, whatever the library's own default."""
    assert Settings().google_speech_url.startswith("https://")


def test_whisper_is_sent_the_segment_as_the_api_wants_it(upstreams: Upstreams, blunt: Pcm) -> None:
    """A FLAC file, the model, and the language as ISO-639-1."""
    upstreams.whisper.hears = " Send me the report. "
    assert recognize(whisper(upstreams, groq_api_key="gsk"), blunt, "de-DE") == Heard(("Send me the report.",), "groq")
    (request,) = upstreams.whisper.requests
    assert request.form["model"].text == "whisper-large-v3-turbo"
    assert request.form["language"].text == "de"
    assert request.headers["Authorization"] == "Bearer gsk"


@pytest.mark.parametrize("make", [google, whisper])
def test_nothing_heard_is_no_failure(make: Make, upstreams: Upstreams, blunt: Pcm) -> None:
    """A segment in which nobody speaks is passed over."""
    upstreams.google.always(fakes.nothing_heard())
    upstreams.whisper.always(fakes.nothing_heard())
    assert recognize(make(upstreams), blunt).utterances == ()


FAILURES = {
    "500": fakes.status(500), "html": fakes.html(), "empty json": fakes.empty_json(), "empty": fakes.empty_body(),
    "bytes": fakes.nonsense(), "reset": fakes.reset(), "closed": fakes.close(), "truncated": fakes.truncated(),
    "list": fakes.body("[]"), "null": fakes.body("null"), "string": fakes.body('"x"'),
    "number": fakes.body('{"text": 7}'),
    "result": fakes.body('{"result": 7}'), "429": fakes.status(429),
}  # fmt: skip


@pytest.mark.parametrize("make", [google, whisper])
@pytest.mark.parametrize("name", FAILURES)
def test_every_failure_is_survived_once_and_told_when_it_lasts(
    name: str, make: Make, upstreams: Upstreams, blunt: Pcm
) -> None:
    """One bad answer costs a retry; bad answers for good are an EngineError and nothing else."""
    upstream = upstreams.google if make is google else upstreams.whisper
    upstream.hears = "send me the report"
    upstream.behave(FAILURES[name])
    assert recognize(make(upstreams), blunt).utterances == ("send me the report",)
    upstream.always(FAILURES[name])
    with pytest.raises(EngineError):
        recognize(make(upstreams), blunt)
    assert len(upstream.requests) == 4


@pytest.mark.parametrize("make", [google, whisper])
@pytest.mark.parametrize("behaviour", [fakes.stall(), fakes.drip(0.02)], ids=["stall", "drip"])
def test_an_engine_that_does_not_answer_timed_out(
    behaviour: Behaviour, make: Make, upstreams: Upstreams, blunt: Pcm
) -> None:
    """Silence and trickling end within the timeout of a call."""
    upstreams.google.always(behaviour)
    upstreams.whisper.always(behaviour)
    with pytest.raises(EngineError) as failed:
        recognize(make(upstreams), blunt)
    assert failed.value.timed_out


def test_the_next_engine_takes_over(upstreams: Upstreams, blunt: Pcm) -> None:
    """TRANSCRIBER=google,groq: when one is unavailable the other one hears."""
    upstreams.google.always(fakes.status(503))
    upstreams.whisper.hears = "send me the report"
    chain = build_recognizer(
        Settings(
            transcriber=("google", "groq"), google_speech_url=upstreams.google_url, stt_base_url=upstreams.openai_url
        )
    )
    assert recognize(chain, blunt) == Heard(("send me the report",), "groq")
    tried = len(upstreams.google.requests)
    assert recognize(chain, blunt).engine == "groq"
    assert len(upstreams.google.requests) == tried, "an engine that failed rests for a while"


class Engine:
    """An engine that does as told."""

    side_by_side = 1

    def __init__(self, name: str, *, works: bool = True, languages: str = "en") -> None:
        self.name, self.works, self.languages, self.calls = name, works, languages, 0

    def hears(self, language: str) -> bool:
        """Know some languages."""
        return language.split("-", maxsplit=1)[0] in self.languages

    def recognize(self, segment: Segment, *, language: str, deadline: Deadline) -> Heard:
        """Count the call and hear something, or fail."""
        self.calls += 1
        if not self.works:
            raise EngineError(f"{self.name} is away.")
        return Heard(("hello",), self.name)


def test_a_rested_engine_is_asked_again(blunt: Pcm) -> None:
    """After the cool-down the preferred engine gets its turn back."""
    now = 0.0
    first, second = Engine("first", works=False), Engine("second")
    chain = FailoverRecognizer([first, second], clock=lambda: now)
    assert [recognize(chain, blunt).engine for _ in range(3)] == ["second"] * 3
    assert first.calls == 1
    first.works, now = True, COOL_DOWN_S + 1
    assert recognize(chain, blunt).engine == "first"


def test_the_last_engines_failure_is_the_chains(blunt: Pcm) -> None:
    """When nobody is left, the caller learns why; and every later request tries again."""
    chain = FailoverRecognizer([Engine("first", works=False), Engine("second", works=False)])
    for _ in range(2):
        with pytest.raises(EngineError, match="second is away"):
            recognize(chain, blunt)


def test_an_engine_is_asked_only_for_languages_it_knows(blunt: Pcm) -> None:
    """The embedded recogniser behind Google does not hear German as English."""
    chain = FailoverRecognizer([Engine("english"), Engine("german", languages="de")])
    assert recognize(chain, blunt, "de-DE").engine == "german"
    assert (chain.hears("de"), chain.hears("fr")) == (True, False)


def test_the_embedded_engine_hears_english_only() -> None:
    """It says so instead of writing nonsense."""
    sphinx = build_recognizer(Settings())
    assert sphinx.hears("en-GB")
    assert not sphinx.hears("de-DE")


def test_an_unknown_engine_stops_the_start() -> None:
    """A typing error in TRANSCRIBER is found before the first recording."""
    with pytest.raises(SettingsError, match="TRANSCRIBER: unknown engine 'gogle'"):
        build_recognizer(Settings(transcriber=("gogle",)))


def test_an_engine_that_is_not_installed_says_what_to_install(blunt: Pcm) -> None:
    """Any other engine of SpeechRecognition may be named; its extra may be missing."""
    recognizer = build_recognizer(Settings(transcriber=("whisper",)))
    with pytest.raises(EngineError, match=r"pip install 'SpeechRecognition\[") as failed:
        recognize(recognizer, blunt)
    assert failed.value.rejected


@pytest.mark.parametrize(
    ("raised", "timed_out"),
    [
        (sr.RequestError("secret url"), False),
        (TimeoutError("x"), True),
        (KeyError("result"), False),
        (OSError("/path"), False),
    ],
)
def test_a_packaged_engines_failures_are_translated(
    raised: Exception, timed_out: bool, monkeypatch: pytest.MonkeyPatch, blunt: Pcm
) -> None:
    """Whatever an engine raises, no message of its own leaves."""

    def recognize_vosk(self: sr.Recognizer, audio: sr.AudioData) -> str:
        raise raised

    monkeypatch.setattr(sr.Recognizer, "recognize_vosk", recognize_vosk)
    with pytest.raises(EngineError) as failed:
        recognize(PackagedRecognizer("vosk", timeout_s=1), blunt)
    assert failed.value.timed_out is timed_out
    assert str(raised) not in str(failed.value)


def test_a_packaged_engine_is_given_the_language_if_it_takes_one(monkeypatch: pytest.MonkeyPatch, blunt: Pcm) -> None:
    """Its answer is the utterance, and not understanding is hearing nothing."""

    def recognize_vosk(self: sr.Recognizer, audio: sr.AudioData, language: str = "xx") -> str:
        if language == "fr-FR":
            raise sr.UnknownValueError
        return f"{language} {len(audio.frame_data)}"

    monkeypatch.setattr(sr.Recognizer, "recognize_vosk", recognize_vosk)
    recognizer = PackagedRecognizer("vosk", timeout_s=1)
    assert recognize(recognizer, blunt, "de-DE").utterances == (f"de-DE {2 * len(blunt)}",)
    assert recognize(recognizer, blunt, "fr-FR").utterances == ()
