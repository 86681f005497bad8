"""The fakes against the real clients: what they accept, what they answer and how they fail."""

import gc
import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
import speech_recognition as sr

from refiner.audio import Pcm
from refiner.recognizers import FlacAudio
from tests.sound import wav
from tests.upstreams import (
    POLITE,
    SAID,
    WRONG_SHAPES,
    Behaviour,
    Request,
    Upstreams,
    body,
    close,
    delay,
    delay_by_length,
    drip,
    empty_body,
    empty_content,
    empty_json,
    finish_length,
    gate,
    html,
    nonsense,
    nothing_heard,
    ok,
    reasoning,
    redirect,
    reset,
    slow_stream,
    stall,
    status,
    stream_cut,
    stream_error,
    talker,
    truncated,
)

ROOT = Path(__file__).parent.parent
CHAT = {"model": "openai/gpt-oss-120b", "messages": [{"role": "user", "content": "hello"}]}
SHORT_S = 0.3


def recognize(up: Upstreams, pcm: Pcm, *, timeout_s: float = 10, language: str = "en-US") -> str:
    """Ask Google the way SpeechRecognition does."""
    recognizer = sr.Recognizer()
    recognizer.operation_timeout = timeout_s
    return str(
        recognizer.recognize_google(FlacAudio(pcm.tobytes(), 16_000, 2), language=language, endpoint=up.google_url)
    )


def chat(
    up: Upstreams, *, timeout_s: float = 10, headers: dict[str, str] | None = None, **more: Any
) -> requests.Response:
    """Ask the model for one completion."""
    return requests.post(f"{up.openai_url}/chat/completions", json=CHAT | more, headers=headers, timeout=timeout_s)


def events(reply: requests.Response) -> list[str]:
    """Return the data of every server-sent event."""
    return [line.removeprefix("data: ") for line in reply.text.splitlines() if line]


def streamed(reply: requests.Response) -> str:
    """Return the text that a stream's deltas add up to."""
    chunks = [json.loads(data) for data in events(reply) if data != "[DONE]"]
    return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def transcribe(up: Upstreams, audio: bytes, **more: str) -> requests.Response:
    """Ask Whisper."""
    form = {"model": "whisper-large-v3-turbo", "language": "en", "response_format": "json"} | more
    files = {"file": ("speech.wav", audio, "audio/wav")}
    return requests.post(f"{up.openai_url}/audio/transcriptions", data=form, files=files, timeout=10)


def test_the_package_as_it_comes_is_understood(upstreams: Upstreams, blunt: Pcm) -> None:
    """recognize_google with its own FLAC encoder gets the text, and the fake has heard every sample."""
    heard = []
    upstreams.google.hears = lambda recording: heard.append(recording) or "open the door"  # type: ignore[func-returns-value]
    audio = sr.AudioData(blunt.tobytes(), 16_000, 2)
    try:
        text = sr.Recognizer().recognize_google(audio, language="en-GB", endpoint=upstreams.google_url)
    except OSError:
        pytest.skip("SpeechRecognition brings no flac program for this machine")
    assert text == "open the door"
    assert (heard[0].language, heard[0].sample_rate_hz) == ("en-GB", 16_000)
    assert heard[0].seconds == pytest.approx(len(blunt) / 16_000)
    assert np.array_equal(heard[0].pcm, blunt)
    (request,) = upstreams.google.requests
    assert request.headers["Content-Type"] == "audio/x-flac; rate=16000"
    assert request.query.keys() == {"client", "lang", "key", "pFilter"}


GOOGLE_FAILURES: list[tuple[Behaviour, type[Exception]]] = [
    (status(403), sr.RequestError),
    (status(503), sr.RequestError),
    (redirect(), sr.RequestError),
    (stall(), TimeoutError),
    (reset(), ConnectionResetError),
    (close(), http.client.RemoteDisconnected),
    (truncated(), http.client.IncompleteRead),
    (html(), json.JSONDecodeError),
    (empty_json(), KeyError),
    (nonsense(), UnicodeDecodeError),
    (body("[]"), TypeError),
    (body("null"), TypeError),
    (empty_body(), sr.UnknownValueError),
    (nothing_heard(), sr.UnknownValueError),
]


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # SpeechRecognition leaves sockets to the collector
@pytest.mark.parametrize(("behaviour", "error"), GOOGLE_FAILURES)
def test_each_failure_of_google_reaches_the_package(
    behaviour: Behaviour, error: type[Exception], upstreams: Upstreams, blunt: Pcm
) -> None:
    """The package raises what it raises towards the real service, and the next request is answered again."""
    upstreams.google.behave(behaviour)
    with pytest.raises(error) as raised:
        recognize(upstreams, blunt, timeout_s=SHORT_S)
    assert raised.type is error
    del raised
    gc.collect()  # now, while the warning is expected
    assert recognize(upstreams, blunt) == SAID


GOOGLE_REFUSALS: dict[str, dict[str, Any]] = {
    "no key": {"url": "?lang=en-US"},
    "no language": {"url": "?key=k"},
    "no FLAC": {"data": b"RIFF"},
    "broken FLAC": {"data": b"fLaC" + bytes(40)},
    "another rate": {"headers": {"Content-Type": "audio/x-flac; rate=8000"}},
    "another type": {"headers": {"Content-Type": "audio/wav"}},
    "too long": {"data": FlacAudio(bytes(32_000 * 70), 16_000, 2).get_flac_data()},
}


@pytest.mark.parametrize("case", GOOGLE_REFUSALS)
def test_google_refuses_what_it_cannot_use(case: str, upstreams: Upstreams) -> None:
    """Requests the real service would not take never reach the script."""
    asked: dict[str, Any] = {
        "url": "?lang=en-US&key=k",
        "data": FlacAudio(bytes(32_000), 16_000, 2).get_flac_data(),
        "headers": {"Content-Type": "audio/x-flac; rate=16000"},
    } | GOOGLE_REFUSALS[case]
    asked["url"] = upstreams.google_url + asked["url"]
    reply = requests.post(timeout=10, **asked)
    assert reply.status_code == (403 if case == "no key" else 400)
    assert reply.headers["Content-Type"].startswith("text/html")


def test_a_completion_has_the_shape_of_groqs(upstreams: Upstreams) -> None:
    """One choice, the text as its content, the reason it ended, usage and an id."""
    upstreams.chat.says = lambda asked: f"{asked['messages'][0]['content']} to you"
    reply = chat(upstreams, include_reasoning=False, max_tokens=10).json()
    assert reply["object"] == "chat.completion"
    (choice,) = reply["choices"]
    assert choice["message"] == {"role": "assistant", "content": "hello to you"}
    assert choice["finish_reason"] == "stop"
    assert {"usage", "x_groq", "model", "created"} <= reply.keys()
    assert upstreams.chat.requests[0].json["max_tokens"] == 10


def test_a_stream_has_the_shape_of_groqs(upstreams: Upstreams) -> None:
    """A role, the reasoning, one delta for each word, an empty delta with the reason it ended, [DONE]."""
    reply = chat(upstreams, stream=True)
    assert reply.headers["Content-Type"] == "text/event-stream"
    *chunks, done = events(reply)
    choices = [json.loads(chunk)["choices"][0] for chunk in chunks]
    assert done == "[DONE]"
    assert choices[0]["delta"]["role"] == "assistant"
    assert "reasoning" in choices[1]["delta"]
    assert streamed(reply) == POLITE
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["stop"]
    assert choices[-1]["delta"] == {}


GROQ_REFUSALS: dict[str, tuple[dict[str, Any], int, str | None]] = {
    "unknown model": ({"model": "llama-3.3-70b-versatile"}, 404, "model_not_found"),
    "no model": ({"model": ""}, 400, None),
    "no messages": ({"messages": []}, 400, None),
    "no reasoning at all": ({"reasoning_effort": "none"}, 400, None),
    "two ways to hide reasoning": ({"include_reasoning": False, "reasoning_format": "hidden"}, 400, None),
    "unknown parameter": ({"num_predict": 3}, 400, None),
}


@pytest.mark.parametrize("case", GROQ_REFUSALS)
def test_groq_refuses_what_it_does_not_take(case: str, upstreams: Upstreams) -> None:
    """The error comes in Groq's envelope, and a scripted behaviour is kept for a request that is taken."""
    upstreams.chat.behave(status(503))
    asked, code, error_code = GROQ_REFUSALS[case]
    reply = chat(upstreams, **asked)
    assert (reply.status_code, reply.json()["error"].get("code")) == (code, error_code)
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert reply.json()["error"]["message"]
    assert chat(upstreams).status_code == 503


def test_a_body_that_is_no_json_is_refused(upstreams: Upstreams) -> None:
    """Neither form fields nor broken JSON pass."""
    url = f"{upstreams.openai_url}/chat/completions"
    for asked in ({"data": {"model": "m"}}, {"data": b"{", "headers": {"Content-Type": "application/json"}}):
        assert requests.post(url, timeout=10, **asked).status_code == 400


@pytest.mark.parametrize("key", [None, "gsk-wrong", "gsk-right"])
def test_a_configured_key_is_asked_for(key: str | None, blunt: Pcm) -> None:
    """A missing or a wrong key is a 401 with Groq's code."""
    headers = {"Authorization": f"Bearer {key}"} if key else None
    with Upstreams(api_key="gsk-right") as up:
        reply = chat(up, headers=headers)
        assert transcribe(up, wav(blunt)).status_code == 401
    assert reply.status_code == (200 if key == "gsk-right" else 401)
    if key != "gsk-right":
        assert reply.json()["error"]["code"] == "invalid_api_key"


def test_whisper_hears_the_file_of_the_form(upstreams: Upstreams, blunt: Pcm) -> None:
    """Every byte of the file arrives, and each response format has its shape."""
    upstreams.whisper.hears = lambda heard: f"{heard.seconds:.1f} s of {heard.language}"
    audio = wav(blunt)
    assert transcribe(upstreams, audio).json()["text"].strip() == "3.9 s of en"
    assert transcribe(upstreams, audio, response_format="text").text.strip() == "3.9 s of en"
    assert transcribe(upstreams, audio, response_format="verbose_json").json()["duration"] == pytest.approx(3.945)
    (first, *_) = upstreams.whisper.requests
    assert first.form["file"].content == audio
    assert (first.form["file"].filename, first.form["model"].text) == ("speech.wav", "whisper-large-v3-turbo")


WHISPER_REFUSALS: dict[str, tuple[bytes, dict[str, str], int]] = {
    "empty file": (b"", {}, 400),
    "no sound": (b"this is a letter", {}, 400),
    "too short": (wav(np.zeros(100, np.int16)), {}, 400),
    "language with a region": (wav(np.zeros(1600, np.int16)), {"language": "en-US"}, 400),
    "unknown format": (wav(np.zeros(1600, np.int16)), {"response_format": "xml"}, 400),
    "unknown model": (wav(np.zeros(1600, np.int16)), {"model": "whisper-1"}, 404),
}


@pytest.mark.parametrize("case", WHISPER_REFUSALS)
def test_whisper_refuses_what_it_cannot_use(case: str, upstreams: Upstreams) -> None:
    """The error comes in Groq's envelope."""
    audio, form, code = WHISPER_REFUSALS[case]
    reply = transcribe(upstreams, audio, **form)
    assert (reply.status_code, reply.json()["error"]["type"]) == (code, "invalid_request_error")


def test_statuses_carry_what_the_service_sends_with_them(upstreams: Upstreams) -> None:
    """The wait and the error code belong to a 429; body and type can be replaced."""
    upstreams.chat.behave(status(429, retry_after=7), status(500), status(502, body="<p>no", content_type="text/html"))
    limited, broken, page = chat(upstreams), chat(upstreams), chat(upstreams)
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "7")
    assert limited.json()["error"]["code"] == "rate_limit_exceeded"
    assert (broken.status_code, broken.json()["error"]["type"]) == (500, "internal_server_error")
    assert (page.status_code, page.text, page.headers["Content-Type"]) == (502, "<p>no", "text/html")


CHAT_FAILURES: list[tuple[Behaviour, type[Exception]]] = [
    (stall(), requests.ReadTimeout),
    (reset(), requests.ConnectionError),
    (close(), requests.ConnectionError),
    (truncated(), requests.exceptions.ChunkedEncodingError),
    (html(), requests.JSONDecodeError),
    (empty_body(), requests.JSONDecodeError),
    (nonsense(), requests.JSONDecodeError),
]


@pytest.mark.parametrize(("behaviour", "error"), CHAT_FAILURES)
def test_each_failure_of_groq_reaches_requests(
    behaviour: Behaviour, error: type[Exception], upstreams: Upstreams
) -> None:
    """The library raises what it raises towards a real server, and the next request is answered again."""
    upstreams.chat.behave(behaviour)
    with pytest.raises(error):
        chat(upstreams, timeout_s=SHORT_S).json()
    assert chat(upstreams).status_code == 200


@pytest.mark.parametrize("shape", WRONG_SHAPES)
def test_wrong_shapes_arrive_as_they_are(shape: str, upstreams: Upstreams) -> None:
    """A 200 with JSON that is no completion."""
    upstreams.chat.always(body(shape))
    assert chat(upstreams).text == shape


@pytest.mark.parametrize("stream", [False, True])
def test_a_model_can_say_too_little_or_too_much(stream: bool, upstreams: Upstreams) -> None:
    """Nothing, half a sentence with finish_reason length, and thoughts before the answer, whole or streamed."""
    upstreams.chat.behave(empty_content(), finish_length(), reasoning("hm"))
    replies = [chat(upstreams, stream=stream) for _ in range(3)]
    if stream:
        texts = [streamed(reply) for reply in replies]
        cut_off = json.loads(events(replies[1])[-2])["choices"][0]["finish_reason"]
    else:
        choices = [reply.json()["choices"][0] for reply in replies]
        texts = [choice["message"]["content"] for choice in choices]
        cut_off = choices[1]["finish_reason"]
    assert texts == ["", POLITE[: len(POLITE) // 2].rstrip(), f"<think>\nhm\n</think>\n\n{POLITE}"]
    assert cut_off == "length"


def test_a_stream_can_end_too_early(upstreams: Upstreams) -> None:
    """Without a reason and [DONE], with an error in the middle, or with the connection broken off."""
    upstreams.chat.behave(stream_cut(), stream_error(), stream_cut(whole=False))
    cut, failed = chat(upstreams, stream=True), chat(upstreams, stream=True)
    assert POLITE.startswith(streamed(cut))
    assert "[DONE]" not in cut.text
    assert '"finish_reason": "stop"' not in cut.text
    assert "error" in json.loads(events(failed)[-1])
    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        chat(upstreams, stream=True)


def test_a_slow_stream_comes_in_pieces(upstreams: Upstreams) -> None:
    """The first event is there long before the last."""
    upstreams.chat.always(slow_stream(0.02))
    url = f"{upstreams.openai_url}/chat/completions"
    with requests.post(url, json=CHAT | {"stream": True}, stream=True, timeout=10) as reply:
        arrivals = [time.monotonic() for line in reply.iter_lines() if line]
    assert len(arrivals) == len(POLITE.split()) + 4
    assert arrivals[-1] - arrivals[0] >= 0.02 * (len(arrivals) - 2)


def test_answers_can_take_their_time(upstreams: Upstreams, blunt: Pcm) -> None:
    """A fixed time, or one that grows with the recording."""
    upstreams.google.behave(delay(0.1), delay_by_length(fixed_s=0.05, factor=0.02))
    upstreams.google.hears = talker(words_per_s=2.5)
    times = []
    for _ in range(2):
        started_at = time.monotonic()
        assert len(recognize(upstreams, blunt).split()) == round(2.5 * 3.945)
        times.append(time.monotonic() - started_at)
    assert times[0] >= 0.1
    assert times[1] >= 0.05 + 0.02 * 3.945


def test_a_drip_never_lets_a_read_time_out(upstreams: Upstreams) -> None:
    """Bytes keep coming until the client has had enough, and the fake notices that it left."""
    upstreams.chat.always(drip(every_s=0.01))
    url = f"{upstreams.openai_url}/chat/completions"
    with requests.post(url, json=CHAT, stream=True, timeout=SHORT_S) as reply:
        assert reply.raw.read(20) == b" " * 20
    upstreams.chat.wait_for_hang_ups(1)


def test_a_client_that_hangs_up_is_noticed(upstreams: Upstreams) -> None:
    """A stalled request ends with its client, so that nothing piles up."""
    upstreams.chat.always(stall())
    with pytest.raises(requests.ReadTimeout):
        chat(upstreams, timeout_s=SHORT_S)
    upstreams.chat.wait_for_hang_ups(1)
    upstreams.chat.wait_until_idle()


def test_a_redirect_is_offered_and_its_followers_are_kept(upstreams: Upstreams) -> None:
    """Whoever follows is found in strays, with the method used."""
    upstreams.chat.always(redirect())
    assert chat(upstreams).status_code == 404
    assert upstreams.strays == ["GET /sorry/index"]


def test_a_gate_holds_many_requests_at_once(upstreams: Upstreams) -> None:
    """Sixty-four clients wait together and are all answered once the gate is released."""
    gated = gate()
    upstreams.chat.always(gated)
    with ThreadPoolExecutor(64) as clients:
        waiting = [clients.submit(chat, upstreams) for _ in range(64)]
        arrived = upstreams.chat.wait_for(64)
        assert not any(reply.done() for reply in waiting)
        gated.release()
        assert {reply.result().status_code for reply in waiting} == {200}
    assert sorted(request.in_flight for request in arrived) == list(range(1, 65))
    assert upstreams.chat.max_in_flight == 64
    assert len({request.connection for request in arrived}) == 64


def test_a_connection_is_kept_open(upstreams: Upstreams) -> None:
    """Requests of one session share a connection, across success and refusal."""
    upstreams.chat.behave(ok(), status(500), ok())
    with requests.Session() as session:
        for _ in range(3):
            session.post(f"{upstreams.openai_url}/chat/completions", json=CHAT, timeout=10)
    first, second, third = upstreams.chat.requests
    assert first.connection == second.connection == third.connection
    assert first.arrived_at < second.arrived_at < third.arrived_at
    assert upstreams.chat.max_in_flight == 1


def test_the_script_runs_out_and_a_reset_forgets_it(upstreams: Upstreams) -> None:
    """Scripted behaviours come first, then the default; a reset brings back the beginning."""
    upstreams.chat.always(status(500))
    upstreams.chat.behave(status(503), ok())
    upstreams.chat.says = "Well."
    assert [chat(upstreams).status_code for _ in range(4)] == [503, 200, 500, 500]
    upstreams.reset()
    assert upstreams.chat.requests == []
    assert chat(upstreams).json()["choices"][0]["message"]["content"] == POLITE


def test_waiting_in_vain_says_what_did_arrive(upstreams: Upstreams) -> None:
    """The message is what a failing test shows."""
    chat(upstreams)
    with pytest.raises(TimeoutError, match=re.escape("2 requests at /openai/v1/chat/completions: 1 requests")):
        upstreams.chat.wait_for(2, timeout_s=0.01)


@pytest.mark.parametrize("behaviour", [stall(), gate(), delay(60), drip(), slow_stream(60)])
def test_stopping_ends_whatever_is_going_on(behaviour: Behaviour) -> None:
    """No exchange outlives the fakes, and stopping takes no time."""
    up = Upstreams().start()
    up.chat.always(behaviour)
    client = threading.Thread(target=_ask_in_vain, args=(lambda: chat(up, stream=True),))
    client.start()
    up.chat.wait_for(1)
    started_at = time.monotonic()
    up.stop()
    client.join(timeout=5)
    assert not client.is_alive()
    assert time.monotonic() - started_at < 1
    assert up.chat.hang_ups == 0


def _ask_in_vain(ask: Callable[[], requests.Response]) -> None:
    with pytest.raises(requests.RequestException):
        ask()


def test_a_failing_function_fails_the_test() -> None:
    """What goes wrong in `hears` or `says` is raised at the end instead of being swallowed by a server thread."""
    up = Upstreams()
    up.chat.says = lambda asked: str(asked["no such field"])
    with pytest.raises(KeyError, match="no such field"), up:
        _ask_in_vain(lambda: chat(up))


def test_the_command_serves_until_it_is_told_to_stop(blunt: Pcm) -> None:
    """It prints the variables to set and ends cleanly on SIGTERM."""
    command = [sys.executable, "-m", "tests.upstreams", "--hears", "a b", "--says", "C, d.", "--google-delay", "0.01"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=dict(os.environ)) as process:
        assert process.stdout is not None
        printed = [process.stdout.readline().strip().split("=") for _ in range(2)]
        urls = dict(printed)
        reply = requests.post(f"{urls['LLM_BASE_URL']}/chat/completions", json=CHAT, timeout=10)
        audio = FlacAudio(blunt.tobytes(), 16_000, 2)
        assert sr.Recognizer().recognize_google(audio, endpoint=urls["GOOGLE_SPEECH_URL"]) == "a b"
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=10) == 0
    assert reply.json()["choices"][0]["message"]["content"] == "C, d."


def test_requests_are_recorded_as_they_came(upstreams: Upstreams) -> None:
    """Headers are found whatever their case."""
    chat(upstreams, headers={"X-Odd": "yes"})
    request: Request = upstreams.chat.requests[0]
    assert (request.method, request.path) == ("POST", "/openai/v1/chat/completions")
    assert request.headers["x-odd"] == "yes"
    assert json.loads(request.body) == request.json == CHAT
