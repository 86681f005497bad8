"""One adapter per speech engine behind one Protocol; foreign failures are translated here and nowhere else."""

import inspect
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Protocol

import numpy as np
import soundfile
import speech_recognition as sr
from speech_recognition.recognizers.google import OutputParser, create_request_builder
from urllib3 import encode_multipart_formdata

from refiner.audio import SAMPLE_RATE_HZ, Pcm
from refiner.deadline import Deadline
from refiner.errors import EngineError
from refiner.segments import Segment
from refiner.settings import Settings, SettingsError, cores
from refiner.sphinx import SphinxPool
from refiner.text import primary_language
from refiner.upstream import Upstream, bearer, retried

SIDE_BY_SIDE = 4
COOL_DOWN_S = 30.0
"""How long an engine that failed is passed over while another one is configured behind it."""


_FLAC: dict[str, Any] = {"format": "FLAC", "subtype": "PCM_16", "compression_level": 0.0}


@dataclass(frozen=True)
class Heard:
    """What one engine heard in one segment: pieces of speech between pauses, none if nobody spoke."""

    utterances: tuple[str, ...]
    engine: str

    @classmethod
    def in_one_piece(cls, text: str, engine: str) -> "Heard":
        """Return what an engine heard that knows no pauses."""
        return cls((text,) if text else (), engine)


class Recognizer(Protocol):
    """Writes down what is said in a segment; used by several threads at once."""

    name: str
    side_by_side: int
    """How many segments of one recording are worth recognising at once."""

    def hears(self, language: str) -> bool:
        """Tell whether this engine knows the language of a BCP-47 tag, as far as it can know."""

    def recognize(self, segment: Segment, *, language: str, deadline: Deadline) -> Heard:
        """Return what was heard; raises EngineError, DeadlineExceeded or Cancelled."""


class FlacAudio(sr.AudioData):  # type: ignore[misc]  # the package has no types
    """SpeechRecognition's audio, with FLAC encoded in process instead of by a program started for each call."""

    def get_flac_data(self, convert_rate: int | None = None, convert_width: int | None = None) -> bytes:
        """Return the samples as FLAC; they are 16 kHz mono 16-bit already, so nothing is converted."""
        return encode_flac(np.frombuffer(self.frame_data, np.int16))


def encode_flac(pcm: Pcm) -> bytes:
    """Encode 16 kHz mono int16 samples as FLAC, at the cheapest level.

    libsndfile writes into a file of memory: into a Python object it would call back, and wait for the interpreter's
    lock, some sixty times a segment.
    """
    with _memory_file() as flac:
        soundfile.write(flac.fileno(), pcm, SAMPLE_RATE_HZ, closefd=False, **_FLAC)
        flac.seek(0)
        return flac.read()


def _memory_file() -> BinaryIO:
    """Open an unnamed file that is never on a disk, or where there is no such thing, one that is never seen there."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("flac"), "r+b", buffering=0)
    return tempfile.TemporaryFile()


class GoogleRecognizer:
    """Google Web Speech as SpeechRecognition speaks it, over pooled connections and with a total deadline."""

    name = "google"
    side_by_side = SIDE_BY_SIDE

    def __init__(self, upstream: Upstream, *, url: str, key: str | None) -> None:
        self._upstream = upstream
        self._url = url
        self._key = key

    def hears(self, language: str) -> bool:
        """Leave the judgement to the service."""
        return True

    def recognize(self, segment: Segment, *, language: str, deadline: Deadline) -> Heard:
        """Send the segment and return its best hypothesis."""
        builder = create_request_builder(endpoint=self._url, key=self._key, language=language)
        request = builder.build(FlacAudio(segment.pcm.tobytes(), SAMPLE_RATE_HZ, 2))

        def attempt() -> str:
            headers = dict(request.header_items())
            reply = self._upstream.post(request.full_url, deadline, headers=headers, body=request.data)
            return self._best_hypothesis(reply)

        return Heard.in_one_piece(retried(attempt, deadline), self.name)

    def _best_hypothesis(self, reply: bytes) -> str:
        try:
            return str(OutputParser(show_all=False, with_confidence=False).parse(reply.decode())).strip()
        except sr.UnknownValueError as error:
            if not reply.strip():
                raise self._upstream.failure("sent an empty answer") from error
            return ""
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise self._upstream.nonsense() from error


class WhisperRecognizer:
    """Whisper behind the OpenAI-compatible API, Groq's by default."""

    name = "groq"
    side_by_side = SIDE_BY_SIDE

    def __init__(self, upstream: Upstream, *, base_url: str, model: str, api_key: str) -> None:
        self._upstream = upstream
        self._url = base_url.rstrip("/") + "/audio/transcriptions"
        self._model = model
        self._headers = bearer(api_key)

    def hears(self, language: str) -> bool:
        """Leave the judgement to the service."""
        return True

    def recognize(self, segment: Segment, *, language: str, deadline: Deadline) -> Heard:
        """Send the segment and return its transcript; Whisper takes the primary subtag of the language only."""
        form: dict[str, str | tuple[str, bytes, str]] = {
            "model": self._model,
            "language": primary_language(language),
            "response_format": "json",
            "file": ("speech.flac", encode_flac(segment.pcm), "audio/flac"),
        }
        body, content_type = encode_multipart_formdata(form)
        headers = self._headers | {"Content-Type": content_type}

        def attempt() -> str:
            return self._text(self._upstream.post(self._url, deadline, headers=headers, body=body))

        return Heard.in_one_piece(retried(attempt, deadline), self.name)

    def _text(self, reply: bytes) -> str:
        try:
            text = json.loads(reply)["text"]
        except (ValueError, LookupError, TypeError) as error:
            raise self._upstream.nonsense() from error
        if not isinstance(text, str):
            raise self._upstream.nonsense()
        return text.strip()


class SphinxRecognizer:
    """The embedded recogniser: nothing leaves the machine; English only."""

    name = "sphinx"

    def __init__(self, pool: SphinxPool, *, timeout_s: float) -> None:
        self.side_by_side = pool.processes
        self._pool = pool
        self._timeout_s = timeout_s

    def hears(self, language: str) -> bool:
        """Know English alone."""
        return primary_language(language) == "en"

    def recognize(self, segment: Segment, *, language: str, deadline: Deadline) -> Heard:
        """Decode the segment in another process."""
        pcm = segment.pcm.tobytes()
        heard = retried(lambda: self._pool.recognize(pcm, deadline, timeout_s=self._timeout_s), deadline)
        return Heard(heard, self.name)


class PackagedRecognizer:
    """Any other `recognize_<name>` that SpeechRecognition offers, as it is."""

    def __init__(self, name: str, *, timeout_s: float) -> None:
        self.name = name
        self.side_by_side = SIDE_BY_SIDE
        self._recognizer = sr.Recognizer()
        self._recognizer.operation_timeout = timeout_s
        self._recognize: Callable[..., Any] = getattr(self._recognizer, f"recognize_{name}")
        self._takes_language = "language" in inspect.signature(self._recognize).parameters

    def hears(self, language: str) -> bool:
        """Leave the judgement to the engine."""
        return True

    def recognize(self, segment: Segment, *, language: str, deadline: Deadline) -> Heard:
        """Call the engine with its defaults; its own environment variables and models apply."""
        deadline.check()
        options = {"language": language} if self._takes_language else {}
        try:
            text = self._recognize(FlacAudio(segment.pcm.tobytes(), SAMPLE_RATE_HZ, 2), **options)
        except sr.UnknownValueError:
            return Heard((), self.name)
        except (ImportError, sr.exceptions.SetupError) as error:
            raise EngineError(self._missing(), rejected=True) from error
        except TimeoutError as error:
            raise EngineError(f"The recogniser '{self.name}' did not answer in time.", timed_out=True) from error
        except Exception as error:  # each engine raises its own library's exceptions
            raise EngineError(f"The recogniser '{self.name}' failed ({type(error).__name__}).") from error
        return Heard.in_one_piece(str(text).strip(), self.name)

    def _missing(self) -> str:
        extra = self.name.replace("_", "-")
        return f"The recogniser '{self.name}' is not installed; try: pip install 'SpeechRecognition[{extra}]'."


class FailoverRecognizer:
    """Several engines in order of preference; one that fails is passed over for COOL_DOWN_S."""

    def __init__(self, recognizers: Sequence[Recognizer], *, clock: Callable[[], float] = time.monotonic) -> None:
        self.name = ",".join(recognizer.name for recognizer in recognizers)
        self.side_by_side = max(recognizer.side_by_side for recognizer in recognizers)
        self._recognizers = recognizers
        self._clock = clock
        self._resting_until: dict[str, float] = {}

    def hears(self, language: str) -> bool:
        """Know what any of the engines knows."""
        return any(recognizer.hears(language) for recognizer in self._recognizers)

    def recognize(self, segment: Segment, *, language: str, deadline: Deadline) -> Heard:
        """Ask the engines in turn; raises the last one's EngineError when none is left."""
        able = [recognizer for recognizer in self._recognizers if recognizer.hears(language)]
        rested = [recognizer for recognizer in able if self._resting_until.get(recognizer.name, 0) <= self._clock()]
        *others, last = rested or able
        for recognizer in others:
            try:
                return recognizer.recognize(segment, language=language, deadline=deadline)
            except EngineError:
                self._resting_until[recognizer.name] = self._clock() + COOL_DOWN_S
        return last.recognize(segment, language=language, deadline=deadline)


def build_recognizer(settings: Settings) -> Recognizer:
    """Make the engine, or the chain of engines, that TRANSCRIBER names; raises SettingsError for an unknown name."""
    recognizers = [_build(name, settings) for name in settings.transcriber]
    return recognizers[0] if len(recognizers) == 1 else FailoverRecognizer(recognizers)


def _build(name: str, settings: Settings) -> Recognizer:
    if name == "google":
        url = settings.google_speech_url
        upstream = Upstream.configured("Google speech recognition", url, settings)
        return GoogleRecognizer(upstream, url=url, key=settings.google_speech_key)
    if name == "groq":
        url = settings.stt_base_url
        upstream = Upstream.configured("The transcription service", url, settings)
        return WhisperRecognizer(upstream, base_url=url, model=settings.stt_model, api_key=settings.groq_api_key)
    if name == "sphinx":
        processes = max(1, cores() // settings.web_concurrency)
        return SphinxRecognizer(SphinxPool(processes), timeout_s=settings.upstream_timeout_s)
    if hasattr(sr.Recognizer, f"recognize_{name}"):
        return PackagedRecognizer(name, timeout_s=settings.upstream_timeout_s)
    raise SettingsError(f"TRANSCRIBER: unknown engine '{name}'; google, groq, sphinx or one SpeechRecognition offers")
