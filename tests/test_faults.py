"""Everything an upstream can do wrong, seen from outside: status, code, time, wait and what was already heard."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import pytest
import requests

from refiner.audio import SAMPLE_RATE_HZ, Pcm
from tests.service import Service
from tests.sound import wav
from tests.upstreams import (
    POLITE,
    SAID,
    Behaviour,
    Exchange,
    Upstream,
    Upstreams,
    close,
    drip,
    empty_body,
    empty_content,
    empty_json,
    finish_length,
    html,
    nonsense,
    ok,
    redirect,
    reset,
    stall,
    status,
    truncated,
)

Start = Callable[..., Service]

UPSTREAM_TIMEOUT_S = 0.8
SPARE_S = 1.5
"""The wait between two tries, and what two busy cores add."""


LOUD = 0.5 * 32767


@dataclass(frozen=True)
class Fault:
    """What an upstream does, and what becomes of it when it goes on: how often it is asked, what the client is told."""

    behaviour: Callable[[], Behaviour]
    tries: int = 2
    outcome: str = "failed"
    retry_after: str | None = None


PASSING = {
    "silence": Fault(stall, outcome="timeout"),
    "a trickle": Fault(drip, outcome="timeout"),
    "a reset": Fault(reset),
    "a closed connection": Fault(close),
    "half an answer": Fault(truncated),
    "a page": Fault(html),
    "no body": Fault(empty_body),
    "an empty object": Fault(empty_json),
    "bytes that are no text": Fault(nonsense),
    "408": Fault(lambda: status(408)),
    "429": Fault(lambda: status(429)),
    "429 for a second": Fault(lambda: status(429, retry_after=1), retry_after="1"),
    "500": Fault(lambda: status(500)),
    "502 from a proxy": Fault(lambda: status(502, body="<h1>Bad gateway</h1>", content_type="text/html")),
    "503 for a second": Fault(lambda: status(503, retry_after=0.2), retry_after="1"),
}
"""Faults that another try may mend."""

LASTING = {
    "400": Fault(lambda: status(400), tries=1),
    "401": Fault(lambda: status(401), tries=1),
    "403": Fault(lambda: status(403), tries=1),
    "404": Fault(lambda: status(404), tries=1),
    "413": Fault(lambda: status(413), tries=1),
    "422": Fault(lambda: status(422), tries=1),
    "a redirect": Fault(redirect, tries=1),
    "429 for long": Fault(lambda: status(429, retry_after=17), tries=1, retry_after="17"),
    "429 for a fraction": Fault(lambda: status(429, retry_after=7.66), tries=1, retry_after="8"),
    "503 for long": Fault(lambda: status(503, retry_after=30), tries=1, retry_after="30"),
}
"""Faults that another try, or another try so soon, would not mend."""

MODELS_OWN = {
    "no words": Fault(empty_content),
    "half the words": Fault(finish_length, tries=1),
}
"""Faults that a language model alone has: for a recogniser, no words are an answer."""

FAULTS = PASSING | LASTING | MODELS_OWN
UPSTREAMS = ("google", "whisper", "chat")


def asked(fault: str) -> tuple[str, ...]:
    """Return the upstreams that can have a fault."""
    return ("chat",) if fault in MODELS_OWN else UPSTREAMS


def environment(upstreams: Upstreams, **env: str) -> dict[str, str]:
    """Return what a service is told that uses the fakes and is not patient."""
    return {
        "GROQ_API_KEY": "gsk-test-key",
        "GOOGLE_SPEECH_URL": upstreams.google_url,
        "LLM_BASE_URL": upstreams.openai_url,
        "STT_BASE_URL": upstreams.openai_url,
        "RATE_LIMIT": "100000/minute",
        "UPSTREAM_TIMEOUT_S": str(UPSTREAM_TIMEOUT_S),
    } | env


@dataclass(frozen=True)
class Bench:
    """An upstream to misbehave, among others that do not, and a service that uses it."""

    name: str
    upstreams: Upstreams
    service: Service

    @property
    def upstream(self) -> Upstream:
        """Return the upstream."""
        found = getattr(self.upstreams, self.name)
        assert isinstance(found, Upstream)
        return found

    def code(self, outcome: str) -> str:
        """Return the contract's code for a failure of the upstream."""
        return f"refinement_{outcome}" if self.name == "chat" else f"transcription_{outcome}"


Benches = dict[str, Bench]


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Benches]:
    with ExitStack() as running:
        benches = {}
        for name in UPSTREAMS:
            upstreams = running.enter_context(Upstreams())
            env = environment(upstreams, TRANSCRIBER="groq" if name == "whisper" else "google")
            service = running.enter_context(Service(tmp_path_factory.mktemp(name), env))
            benches[name] = Bench(name, upstreams, service)
        for bench in benches.values():
            bench.service.upload(b"")
        yield benches


@pytest.fixture
def benches(_running: Benches) -> Benches:
    """One bench for each upstream, as good as new."""
    for bench in _running.values():
        bench.upstreams.reset()
    return _running


def answers_of(benches: Benches, names: tuple[str, ...], recording: bytes) -> list[tuple[Bench, requests.Response]]:
    """Upload to several benches at once: most of a failure's time is waiting."""
    with ThreadPoolExecutor(len(names)) as clients:
        chosen = [benches[name] for name in names]
        return list(zip(chosen, clients.map(lambda bench: bench.service.upload(recording), chosen), strict=True))


@pytest.mark.parametrize("fault", [fault for fault in FAULTS if FAULTS[fault].tries == 2])
def test_a_fault_that_passes_is_survived(fault: str, benches: Benches, blunt: Pcm) -> None:
    """One failure of an upstream costs a second try and nothing else."""
    for name in asked(fault):
        benches[name].upstream.behave(FAULTS[fault].behaviour())
    for bench, answer in answers_of(benches, asked(fault), wav(blunt)):
        assert answer.status_code == 200, bench.name
        assert (answer.json()["input"], answer.json()["output"]) == (SAID, POLITE)
        assert bench.upstream.arrived == 2
        assert answer.elapsed.total_seconds() < UPSTREAM_TIMEOUT_S + SPARE_S


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_that_lasts_is_told(fault: str, benches: Benches, blunt: Pcm) -> None:
    """The answer comes in time with the contract's code, a message, the wait if one was named, and what was heard."""
    expected = FAULTS[fault]
    for name in asked(fault):
        benches[name].upstream.always(expected.behaviour())
    for bench, answer in answers_of(benches, asked(fault), wav(blunt)):
        body = answer.json()
        assert (answer.status_code, body["code"]) == (500, bench.code(expected.outcome))
        assert body.get("input") == (SAID if bench.name == "chat" else None)
        assert answer.headers.get("Retry-After") == expected.retry_after
        assert bench.upstream.arrived == expected.tries
        assert answer.elapsed.total_seconds() < expected.tries * UPSTREAM_TIMEOUT_S + SPARE_S
        assert len(body["error"]) > 20
        assert not any(secret in answer.text for secret in ("gsk-test-key", "127.0.0.1", "Traceback", "<h"))


def hears_the_beginning(then: Behaviour) -> Behaviour:
    """Answer for pieces that begin loudly, do something else with the rest."""

    def play(exchange: Exchange) -> None:
        heard = exchange.upstream.heard(exchange.request)
        loud = heard is not None and np.abs(heard.pcm[: 3 * SAMPLE_RATE_HZ]).max() > LOUD
        (ok() if loud else then).play(exchange)

    return Behaviour("hears_the_beginning", play)


@pytest.mark.parametrize("name", ["google", "whisper"])
def test_the_words_before_a_failure_are_not_lost(name: str, benches: Benches, blunt: Pcm) -> None:
    """A recogniser that gives up half way leaves what was written down in the answer."""
    phrase = np.concatenate([blunt, np.zeros(SAMPLE_RATE_HZ // 2, np.int16)])
    loud, quiet = phrase * (0.9 * 32767 / np.abs(phrase).max()), phrase * (0.2 * 32767 / np.abs(phrase).max())
    recording = wav(np.concatenate([loud] * 2 + [quiet] * 8).astype(np.int16))
    benches[name].upstream.always(hears_the_beginning(status(500)))
    answer = benches[name].service.upload(recording)
    assert (answer.status_code, answer.json()["code"]) == (500, "transcription_failed")
    assert answer.json()["input"] == SAID


def test_an_unreachable_upstream_is_told_apart_from_a_slow_one(
    live_service: Start, upstreams: Upstreams, blunt: Pcm
) -> None:
    """A port that refuses fails at once, names no address and is asked twice."""
    gone = Upstreams().start()
    url = gone.google_url
    gone.stop()
    service = live_service(**environment(upstreams, GOOGLE_SPEECH_URL=url))
    service.upload(b"")
    answer = service.upload(wav(blunt))
    assert (answer.status_code, answer.json()["code"]) == (500, "transcription_failed")
    assert answer.elapsed.total_seconds() < SPARE_S
    assert "127.0.0.1" not in answer.text


@pytest.mark.parametrize("fault", ["silence", "a page", "403"])
def test_the_next_recogniser_takes_over(fault: str, live_service: Start, upstreams: Upstreams, blunt: Pcm) -> None:
    """With TRANSCRIBER=google,groq Whisper hears what Google cannot, and Google has a rest."""
    upstreams.google.always(FAULTS[fault].behaviour())
    upstreams.whisper.hears = "heard by the other one"
    service = live_service(**environment(upstreams, TRANSCRIBER="google,groq"))
    answers = [service.upload(wav(blunt)) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200] * 3
    assert {answer.json()["input"] for answer in answers} == {"heard by the other one"}
    assert {answer.json()["meta"]["transcriber"] for answer in answers} == {"groq"}
    assert upstreams.google.arrived == FAULTS[fault].tries
    assert answers[2].elapsed.total_seconds() < SPARE_S


def test_when_no_recogniser_is_left_the_last_ones_failure_is_told(
    live_service: Start, upstreams: Upstreams, blunt: Pcm
) -> None:
    """The chain ends with the contract's error, its wait and within both timeouts."""
    upstreams.google.always(stall())
    upstreams.whisper.always(status(429, retry_after=17))
    answer = live_service(**environment(upstreams, TRANSCRIBER="google,groq")).upload(wav(blunt))
    assert (answer.status_code, answer.json()["code"]) == (500, "transcription_failed")
    assert answer.headers["Retry-After"] == "17"
    assert answer.elapsed.total_seconds() < 2 * UPSTREAM_TIMEOUT_S + 2 * SPARE_S


def test_the_whole_request_has_a_time(live_service: Start, upstreams: Upstreams, blunt: Pcm) -> None:
    """However patient it is with each upstream, REQUEST_TIMEOUT_S is when the client has an answer."""
    upstreams.chat.always(stall())
    service = live_service(**environment(upstreams, UPSTREAM_TIMEOUT_S="30", REQUEST_TIMEOUT_S="1.5"))
    service.upload(b"")
    answer = service.upload(wav(blunt))
    assert (answer.status_code, answer.json()["code"]) == (500, "refinement_timeout")
    assert answer.json()["input"] == SAID
    assert answer.elapsed.total_seconds() < 1.5 + SPARE_S


def alarms(service: Service) -> list[tuple[str, int]]:
    """Return level and status of the configuration alarms in the log, which each name their upstream once."""
    lines = [line for line in service.log_lines() if line["message"] == "configuration alarm"]
    assert len({line["upstream"] for line in lines}) == len(lines)
    return [(line["levelname"], line["status"]) for line in lines]


@pytest.mark.parametrize(
    ("transcriber", "recogniser", "status_code"), [("google", "google", 403), ("groq", "whisper", 401)]
)
def test_a_refused_key_is_an_alarm(
    transcriber: str, recogniser: str, status_code: int, live_service: Start, upstreams: Upstreams, blunt: Pcm
) -> None:
    """A refused key or model is logged once for each upstream and not tried again; other refusals are no alarm."""
    service, recording = live_service(**environment(upstreams, TRANSCRIBER=transcriber)), wav(blunt)
    listener: Upstream = getattr(upstreams, recogniser)
    listener.behave(status(400), *[status(status_code)] * 3)
    upstreams.chat.behave(status(422), *[status(404)] * 3)
    answers = [service.upload(recording) for _ in range(8)]
    assert [answer.status_code for answer in answers] == [500] * 8
    assert [answer.json()["code"] for answer in answers] == ["transcription_failed"] * 4 + ["refinement_failed"] * 4
    assert (listener.arrived, upstreams.chat.arrived) == (8, 4)
    assert alarms(service) == [("ERROR", status_code), ("ERROR", 404)]
