"""The HTTP contract, over a real gunicorn with the fakes as its upstreams."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import requests

from refiner.audio import SAMPLE_RATE_HZ, Pcm
from tests.service import Redis, Service
from tests.sound import wav
from tests.upstreams import Behaviour, Upstreams, empty_json, gate, html, stall, status

Start = Callable[..., Service]

GENEROUS = {"RATE_LIMIT": "1000/minute"}


def test_a_recording_comes_back_politely(connected: Start, upstreams: Upstreams, blunt: Pcm) -> None:
    """With a key it is Google that listens and Groq that rewrites, and the answer holds every promised field."""
    upstreams.google.hears = "send me the report"
    upstreams.chat.says = "Could you please send me the report?"
    answer = connected().upload(wav(blunt), tone="formal", language="en-GB")
    assert answer.status_code == 200
    body = answer.json()
    assert (body["input"], body["output"]) == ("send me the report", "Could you please send me the report?")
    meta = body["meta"]
    assert meta["request_id"] == answer.headers["X-Request-ID"]
    assert (meta["tone"], meta["language"]) == ("formal", "en-GB")
    assert (meta["transcriber"], meta["model"]) == ("google", "openai/gpt-oss-120b")
    assert (meta["truncated"], meta["words"]) == (False, 4)
    assert meta["duration_s"] == pytest.approx(len(blunt) / SAMPLE_RATE_HZ, abs=0.02)
    assert set(meta["timing_ms"]) == {"decode", "transcribe", "refine", "total"}
    assert upstreams.google.requests[0].query["lang"] == "en-GB"


def test_only_the_first_hundred_words_go_on(connected: Start, upstreams: Upstreams, blunt: Pcm) -> None:
    """The rest is neither rewritten nor returned, and the answer says that there was more."""
    upstreams.google.hears = " ".join(f"word{number}" for number in range(150))
    body = connected().upload(wav(blunt)).json()
    assert body["input"].split() == [f"word{number}" for number in range(100)]
    assert (body["meta"]["words"], body["meta"]["truncated"]) == (100, True)
    assert "word100" not in json.dumps(upstreams.chat.requests[0].json)


def test_without_a_key_nothing_leaves_the_machine(live_service: Start, blunt: Pcm) -> None:
    """The embedded engines answer, and both the answer and the log say which they are."""
    service = live_service()
    meta = service.upload(wav(blunt)).json()["meta"]
    assert (meta["transcriber"], meta["model"]) == ("sphinx", "phrasebook")
    (engines,) = [line for line in service.log_lines() if line["message"] == "engines"]
    assert "nothing leaves this machine" in engines["note"]


BAD_REQUESTS: dict[str, tuple[dict[str, Any], str]] = {
    "no form": ({"data": b"hello", "headers": {"Content-Type": "text/plain"}}, "missing_audio"),
    "no field": ({"files": {"sound": ("a.wav", b"x")}}, "missing_audio"),
    "a text field": ({"data": {"audio": "hello"}}, "missing_audio"),
    "no file chosen": ({"files": {"audio": ("", b"")}}, "missing_audio"),
    "zero bytes": ({"files": {"audio": ("a.wav", b"")}}, "empty_audio"),
    "unknown tone": ({"files": {"audio": ("a.wav", b"x")}, "data": {"tone": "rude"}}, "bad_tone"),
    "odd language": ({"files": {"audio": ("a.wav", b"x")}, "data": {"language": "../../etc"}}, "bad_language"),
    "endless language": ({"files": {"audio": ("a.wav", b"x")}, "data": {"language": "x" * 5000}}, "bad_language"),
    "broken multipart": (
        {"data": b"--b\r\nnonsense", "headers": {"Content-Type": "multipart/form-data; boundary=b"}}, "bad_request",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD_REQUESTS)
def test_a_wrong_request_is_told_what_is_wrong(case: str, shared: Service) -> None:
    """Each mistake has its code, a sentence to act on and the request's id."""
    request, code = BAD_REQUESTS[case]
    answer = requests.post(f"{shared.url}/upload", timeout=30, **request)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]
    assert len(answer.json()["error"]) > 20


def test_an_upload_over_the_limit_is_refused(live_service: Start) -> None:
    """413 comes as JSON, says how much is taken, whether or not the length was announced."""
    service = live_service(MAX_UPLOAD_MB="0.5")
    too_much = bytes(600 * 1024)
    announced = service.upload(too_much)
    boundary = b'--b\r\nContent-Disposition: form-data; name="audio"; filename="a"\r\n\r\n'
    chunked = requests.post(
        f"{service.url}/upload",
        data=iter([boundary, too_much, b"\r\n--b--\r\n"]),
        headers={"Content-Type": "multipart/form-data; boundary=b"},
        timeout=30,
    )
    for answer in (announced, chunked):
        assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
        assert "0.5 MB" in answer.json()["error"]


NOT_RECORDINGS = {
    "text": b"this is a letter",
    "garbage": np.random.default_rng(3).bytes(20_000),
    "playlist": b"#EXTM3U\n#EXTINF:10,\nhttp://127.0.0.1/a.wav\n",
}


@pytest.mark.parametrize("case", NOT_RECORDINGS)
def test_what_is_no_recording_is_undecodable(case: str, shared: Service) -> None:
    """Bytes that are no sound get the contract's error whatever they are called."""
    answer = shared.upload(NOT_RECORDINGS[case], name="x" * 5000 + ".wav")
    assert (answer.status_code, answer.json()["code"]) == (500, "undecodable_audio")


def test_a_recording_without_a_voice_has_no_speech(shared: Service, shared_upstreams: Upstreams) -> None:
    """Silence is told apart from a broken file, and no upstream is bothered with it."""
    answer = shared.upload(wav(np.zeros(2 * SAMPLE_RATE_HZ, np.int16)))
    assert (answer.status_code, answer.json()["code"]) == (500, "no_speech")
    assert "input" not in answer.json()
    assert shared_upstreams.google.requests == []


def test_half_a_recording_is_an_answer(shared: Service, blunt: Pcm) -> None:
    """An upload that was cut off is worth what it still says."""
    whole = wav(blunt)
    answer = shared.upload(whole[: len(whole) // 2])
    assert answer.status_code == 200
    assert answer.json()["meta"]["duration_s"] == pytest.approx(len(blunt) / SAMPLE_RATE_HZ / 2, abs=0.1)


FAILURES = [
    ("google", status(500), "transcription_failed", False),
    ("google", html(), "transcription_failed", False),
    ("google", empty_json(), "transcription_failed", False),
    ("google", stall(), "transcription_timeout", False),
    ("chat", status(401), "refinement_failed", True),
    ("chat", html(), "refinement_failed", True),
    ("chat", stall(), "refinement_timeout", True),
]


@pytest.mark.parametrize(("upstream", "behaviour", "code", "heard"), FAILURES)
def test_an_upstreams_failure_has_its_code_and_loses_nothing(
    upstream: str,
    behaviour: Behaviour,
    code: str,
    heard: bool,
    shared: Service,
    shared_upstreams: Upstreams,
    blunt: Pcm,
) -> None:
    """Whatever an upstream does, the answer comes in time and holds the transcript if there was one."""
    getattr(shared_upstreams, upstream).always(behaviour)
    answer = shared.upload(wav(blunt))
    body = answer.json()
    assert (answer.status_code, body["code"]) == (500, code)
    assert body.get("input") == (shared_upstreams.google.hears if heard else None)
    assert "gsk-test-key" not in answer.text
    assert answer.elapsed.total_seconds() < 6


def test_the_wait_an_upstream_names_is_passed_on(shared: Service, shared_upstreams: Upstreams, blunt: Pcm) -> None:
    """A 429 from the model becomes the contract's 500 with an integer Retry-After."""
    shared_upstreams.chat.always(status(429, retry_after=17))
    answer = shared.upload(wav(blunt))
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (
        500,
        "refinement_failed",
        "17",
    )


@pytest.mark.parametrize(
    ("method", "path", "status_code", "code"),
    [("GET", "/nowhere", 404, "not_found"), ("GET", "/upload", 405, "method_not_allowed"),
     ("POST", "/health", 405, "method_not_allowed"), ("PUT", "/upload/x", 404, "not_found")],
)  # fmt: skip
def test_errors_are_json_on_every_path(shared: Service, method: str, path: str, status_code: int, code: str) -> None:
    """No HTML page ever comes back from this service's own errors."""
    answer = requests.request(method, shared.url + path, timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (status_code, code)
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_a_request_keeps_its_own_id(shared: Service) -> None:
    """Callers can follow their request through the answer and the log."""
    answer = requests.get(f"{shared.url}/nowhere", headers={"X-Request-ID": "mine-1"}, timeout=30)
    assert answer.headers["X-Request-ID"] == answer.json()["request_id"] == "mine-1"


@pytest.mark.parametrize("origin", ["https://app.example", "null", "http://localhost:3000"])
def test_frontends_of_any_origin_may_ask(shared: Service, origin: str, blunt: Pcm) -> None:
    """Web pages and Electron's file:// windows pass the preflight and may read the headers."""
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "x-request-id",
    }
    preflight = requests.options(f"{shared.url}/upload", headers=asked, timeout=30)
    assert preflight.status_code == 200
    assert preflight.headers["Access-Control-Allow-Origin"] in {"*", origin}
    assert "POST" in preflight.headers["Access-Control-Allow-Methods"]
    assert "x-request-id" in preflight.headers["Access-Control-Allow-Headers"].lower()
    answer = shared.upload(b"", headers={"Origin": origin})
    assert answer.headers["Access-Control-Allow-Origin"] in {"*", origin}
    for name in ("X-Request-ID", "Server-Timing", "Retry-After", "X-RateLimit-Remaining"):
        assert name in answer.headers["Access-Control-Expose-Headers"]


def test_ten_uploads_a_minute_and_no_more(connected: Start, blunt: Pcm) -> None:
    """The eleventh is told how long to wait; preflights, pages and health checks never count."""
    service = connected()
    for number in range(10):
        requests.options(f"{service.url}/upload", headers={"Origin": "null"}, timeout=30)
        requests.get(f"{service.url}/health", timeout=30)
        answer = service.upload(wav(blunt))
        assert answer.status_code == 200
        assert answer.headers["X-RateLimit-Remaining"] == str(9 - number)
        assert "Retry-After" not in answer.headers
    refused = service.upload(wav(blunt))
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert refused.headers["X-RateLimit-Limit"] == "10"


def test_a_hundred_and_fifty_uploads_a_day_and_no_more(connected: Start) -> None:
    """The longer limit holds next to the shorter one."""
    service = connected(RATE_LIMIT="1000/minute;150/day")
    statuses = [service.upload(b"").status_code for _ in range(151)]
    assert statuses == [400] * 150 + [429]


def test_the_limit_is_shared_through_redis(connected: Start, redis_server: Redis) -> None:
    """Two worker processes count as one."""
    service = connected(REDIS_URI=redis_server.uri, WEB_CONCURRENCY="2")
    with ThreadPoolExecutor(20) as clients:
        statuses = list(clients.map(lambda _: service.upload(b"").status_code, range(20)))
    assert sorted(statuses) == [400] * 10 + [429] * 10


def test_health_answers_while_uploads_wait(connected: Start, upstreams: Upstreams, blunt: Pcm) -> None:
    """Ten uploads that wait for an upstream slow nothing else down."""
    gated = gate()
    upstreams.google.always(gated)
    service = connected()
    with ThreadPoolExecutor(10) as clients:
        uploads = [clients.submit(service.upload, wav(blunt)) for _ in range(10)]
        upstreams.google.wait_for(10)
        times = [requests.get(f"{service.url}/health", timeout=30).elapsed.total_seconds() for _ in range(20)]
        gated.release()
        assert {upload.result().status_code for upload in uploads} == {200}
    assert sorted(times)[10] < 0.1


def test_simultaneous_uploads_of_one_name_each_get_their_own_text(
    connected: Start, upstreams: Upstreams, blunt: Pcm
) -> None:
    """Nothing of one client's recording ever reaches another."""
    upstreams.google.hears = lambda heard: f"recording of {round(heard.seconds * 10)} tenths"
    upstreams.chat.says = lambda body: body["messages"][-1]["content"].split("\n")[1]
    service = connected(**GENEROUS, MAX_IN_FLIGHT="30")
    lengths = [1600 * tenths for tenths in range(6, 36)]
    with ThreadPoolExecutor(30) as clients:
        answers = list(clients.map(lambda length: service.upload(wav(blunt[:length])).json(), lengths))
    assert [answer["output"] for answer in answers] == [f"recording of {length // 1600} tenths" for length in lengths]


def test_more_than_is_admitted_is_told_at_once(connected: Start, upstreams: Upstreams, blunt: Pcm) -> None:
    """Over MAX_IN_FLIGHT the answer is 503 with Retry-After, without waiting and without costing allowance."""
    gated = gate()
    upstreams.google.always(gated)
    service = connected(MAX_IN_FLIGHT="2")
    with ThreadPoolExecutor(2) as clients:
        uploads = [clients.submit(service.upload, wav(blunt)) for _ in range(2)]
        upstreams.google.wait_for(2)
        refused = service.upload(wav(blunt))
        gated.release()
        assert [upload.result().status_code for upload in uploads] == [200, 200]
    assert (refused.status_code, refused.json()["code"]) == (503, "overloaded")
    assert int(refused.headers["Retry-After"]) >= 1
    assert service.upload(wav(blunt)).headers["X-RateLimit-Remaining"] == "7"


def test_a_key_is_asked_for_where_keys_are_set(connected: Start, blunt: Pcm) -> None:
    """Bearer tokens open the door; anything else gets 401 and costs nothing."""
    service = connected(API_KEYS="alpha,beta")
    for token in ("", "Bearer gamma", "Bearer ", "Basic alpha", "Bearer alph"):
        refused = service.upload(wav(blunt), headers={"Authorization": token} if token else None)
        assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
        assert refused.headers["WWW-Authenticate"] == "Bearer"
    for token in ("alpha", "beta"):
        assert service.upload(wav(blunt), headers={"Authorization": f"Bearer {token}"}).status_code == 200


def test_no_recording_no_transcript_and_no_key_is_left_behind(
    connected: Start, upstreams: Upstreams, blunt: Pcm
) -> None:
    """After successes and failures alike the log holds one line per request, and nothing that was said."""
    upstreams.google.hears = "my password is swordfish"
    upstreams.chat.says = "Might I mention that my password is swordfish?"
    service = connected(LOG_LEVEL="debug")
    answers = [service.upload(wav(blunt))]
    upstreams.chat.always(html())
    answers += [service.upload(wav(blunt)), service.upload(b"RIFFgarbage"), service.upload(b"")]
    lines = [line for line in service.log_lines() if line.get("route") == "upload"]
    assert [line["request_id"] for line in lines] == [answer.headers["X-Request-ID"] for answer in answers]
    assert [line["status"] for line in lines] == [200, 500, 500, 400]
    assert {"client", "bytes", "engine", "model", "timing_ms"} <= lines[0].keys()
    assert "swordfish" not in service.log
    assert "gsk-test-key" not in service.log
    assert "127.0.0.1" not in "".join(map(json.dumps, lines))


def test_a_malformed_variable_stops_the_start(live_service: Start) -> None:
    """Gunicorn ends with one line that names the variable."""
    service = live_service(MAX_WORDS="many")
    assert service.process.wait(timeout=30) != 0
    (line,) = [line for line in service.log.splitlines() if "MAX_WORDS" in line]
    assert line == "MAX_WORDS: Not a valid integer."


def test_server_timing_is_on_every_answer_of_upload(shared: Service, blunt: Pcm) -> None:
    """The steps' milliseconds are there for whoever looks into the network panel."""
    good, bad = shared.upload(wav(blunt)), shared.upload(b"")
    assert {"decode", "transcribe", "refine", "total"} == {
        part.split(";")[0] for part in good.headers["Server-Timing"].split(", ")
    }
    assert bad.headers["Server-Timing"].startswith("total;dur=")


@pytest.mark.parametrize("path", ["/", "/health", "/nowhere", "/static/app.js", "/openapi.json"])
def test_every_answer_carries_the_protective_headers(path: str, shared: Service) -> None:
    """Browsers are told not to guess types and not to tell where they come from; nobody is told a version."""
    answer = requests.get(shared.url + path, timeout=30)
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Referrer-Policy"] == "no-referrer"
    assert not any(character.isdigit() for character in answer.headers.get("Server", ""))
    assert "Strict-Transport-Security" not in answer.headers


def test_behind_tls_browsers_are_told_to_stay_there(shared: Service) -> None:
    """The proxy that ends TLS says so."""
    answer = requests.get(f"{shared.url}/health", headers={"X-Forwarded-Proto": "https"}, timeout=30)
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"


def test_the_page_may_load_nothing_from_elsewhere(shared: Service) -> None:
    """Its policy names itself alone, and nothing inline."""
    policy = requests.get(f"{shared.url}/", timeout=30).headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert "http" not in policy


@pytest.mark.parametrize(
    ("origin", "allowed"), [("https://app.example", True), ("null", True), ("https://evil.example", False)]
)
def test_origins_can_be_restricted(origin: str, allowed: bool, live_service: Start) -> None:
    """CORS_ORIGINS names who may read the answers."""
    service = live_service(CORS_ORIGINS="https://app.example, null")
    answer = service.upload(b"", headers={"Origin": origin})
    assert answer.headers.get("Access-Control-Allow-Origin") == (origin if allowed else None)
