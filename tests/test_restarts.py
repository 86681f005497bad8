"""Stops, kills and starts with recordings in flight, and clients that never finish sending theirs."""

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import numpy as np
import pytest
import requests

from refiner.audio import SAMPLE_RATE_HZ, Pcm
from tests import samples
from tests.service import Redis, Service, wait_until
from tests.sound import wav
from tests.upstreams import POLITE, Upstreams, gate

Start = Callable[..., Service]

GENEROUS = {"RATE_LIMIT": "100000/minute"}
BOUNDARY = "stalls"


def multipart(recording: bytes, *, length: int | None = None) -> bytes:
    """Return a whole upload as it goes over the wire, announcing another length on request."""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="audio"; filename="speech.wav"\r\n\r\n'
    body = head.encode() + recording + f"\r\n--{BOUNDARY}--\r\n".encode()
    lines = [
        "POST /upload HTTP/1.1",
        "Host: service",
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}",
        f"Content-Length: {length or len(body)}",
    ]
    return "\r\n".join([*lines, "\r\n"]).encode() + body


@contextmanager
def stalled(service: Service, clients: int, recording: bytes) -> Iterator[list[socket.socket]]:
    """Hold so many uploads that have sent half of their recording and no more."""
    whole = multipart(recording)
    with ExitStack() as held:
        connections = [
            held.enter_context(socket.create_connection(("127.0.0.1", service.port), 30)) for _ in range(clients)
        ]
        for connection in connections:
            connection.sendall(whole[: len(whole) // 2])
        yield connections


def status_of(connection: socket.socket) -> int:
    """Return the status a held upload ends with, 0 when its connection is closed without one."""
    try:
        line = connection.makefile("rb").readline()
    except ConnectionError:
        return 0
    return int(line.split()[1]) if line else 0


def until_admitted(service: Service, recording: bytes) -> requests.Response:
    """Upload until a worker that is free takes the request."""
    answers: list[requests.Response] = []

    def admitted() -> bool:
        answers.append(service.upload(recording))
        return answers[-1].status_code != 503

    wait_until(admitted, "a worker that is free")
    return answers[-1]


REQUEST_TIMEOUT_S = 4
STALLED = 40


@contextmanager
def dripping(connections: list[socket.socket]) -> Iterator[None]:
    """Send a byte on each connection ten times a second: no single read ever times out."""
    ended = threading.Event()

    def drip() -> None:
        while not ended.wait(0.1):
            for connection in connections:
                try:
                    connection.send(b"\0")
                except OSError:  # cut off, which is what the test waits for
                    continue

    thread = threading.Thread(target=drip, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("drips", [False, True], ids=["silent", "dripping"])
def test_forty_stalled_uploads_hold_up_nobody(drips: bool, connected: Start, blunt: Pcm) -> None:
    """With 32 threads and 40 clients that stall in mid-body one more is served, and the forty are cut off in time."""
    service = connected(REQUEST_TIMEOUT_S=str(REQUEST_TIMEOUT_S), **GENEROUS)
    recording = wav(blunt)
    assert service.upload(recording).status_code == 200
    with stalled(service, STALLED, recording) as connections, ExitStack() as extra:
        began_at = time.monotonic()
        if drips:
            extra.enter_context(dripping(connections))
        health = requests.get(f"{service.url}/health", timeout=30)
        served = until_admitted(service, recording)
        served_after_s = time.monotonic() - began_at
        with ThreadPoolExecutor(STALLED) as readers:
            statuses = list(readers.map(status_of, connections))
        ended_after_s = time.monotonic() - began_at
    assert (health.status_code, served.status_code, served.json()["output"]) == (200, 200, POLITE)
    assert served_after_s < REQUEST_TIMEOUT_S - 0.5
    assert ended_after_s < REQUEST_TIMEOUT_S + 2
    assert set(statuses) <= {0, 400, 503}
    assert service.leftovers() == []
    assert health.elapsed.total_seconds() < 1


def test_forty_stalled_heads_are_cut_off_as_well(connected: Start, blunt: Pcm) -> None:
    """Clients that never finish their headers hold a thread no longer than those that never finish their body."""
    service = connected(REQUEST_TIMEOUT_S=str(REQUEST_TIMEOUT_S), **GENEROUS)
    assert service.upload(wav(blunt)).status_code == 200
    with ExitStack() as held:
        for _ in range(STALLED):
            connection = held.enter_context(socket.create_connection(("127.0.0.1", service.port), 30))
            connection.sendall(multipart(b"")[:60])
        health = requests.get(f"{service.url}/health", timeout=REQUEST_TIMEOUT_S + 3)
    assert health.status_code == 200


def test_what_is_in_flight_may_finish(connected: Start, upstreams: Upstreams, blunt: Pcm) -> None:
    """After SIGTERM uploads that were being worked on get their answers, streamed ones too, and the service ends."""
    gated = gate()
    upstreams.chat.always(gated)
    service, recording = connected(**GENEROUS), wav(blunt)
    with ThreadPoolExecutor(4) as clients:
        plain = [clients.submit(service.upload, recording) for _ in range(3)]
        live = clients.submit(service.upload, recording, headers={"Accept": "text/event-stream"})
        upstreams.chat.wait_for(4)
        service.process.send_signal(signal.SIGTERM)
        wait_until(lambda: "Handling signal: term" in service.log, "the signal to be taken")
        gated.release()
        assert [upload.result().status_code for upload in plain] == [200] * 3
        assert {upload.result().json()["output"] for upload in plain} == {POLITE}
        last = [line for line in live.result().text.splitlines() if line.startswith("data: ")][-1]
        assert json.loads(last[6:])["output"] == POLITE
    assert service.process.wait(timeout=10) == 0
    assert service.group() == set()


def test_a_kill_leaves_no_recording_behind(connected: Start, upstreams: Upstreams, blunt: Pcm) -> None:
    """SIGKILL for every process at once, with recordings being worked on and half arrived: nothing lies in uploads/."""
    upstreams.google.always(gate())
    service, recording = connected(**GENEROUS), wav(blunt)
    with ThreadPoolExecutor(5) as clients, stalled(service, 3, recording * 20):
        uploads = [clients.submit(service.upload, recording) for _ in range(5)]
        upstreams.google.wait_for(5)
        wait_until(lambda: open_recordings(service) >= 8, "eight recordings in uploads/")
        service.kill()
        for upload in uploads:
            with pytest.raises(requests.ConnectionError):
                upload.result()
    assert service.leftovers() == []
    assert service.group() == set()


def open_recordings(service: Service) -> int:
    """Return how many unnamed files the service's processes hold in its upload directory."""
    return len(
        {file for pid in service.group() for file in open_files(pid) if file.startswith(f"{service.upload_dir}/")}
    )


def open_files(pid: int) -> list[str]:
    """Return what a process has open, as /proc has it; an unnamed file has a number for a name."""
    files = []
    for entry in os.scandir(f"/proc/{pid}/fd"):
        try:
            files.append(os.readlink(entry.path))
        except FileNotFoundError:
            continue
    return files


def seconds_of(pcm: Pcm, seconds: float) -> bytes:
    """Return a recording of this length in which the sample is said again and again."""
    return wav(np.resize(pcm, int(seconds * SAMPLE_RATE_HZ)))


def test_recognisers_end_with_the_server_that_started_them(live_service: Start, blunt: Pcm) -> None:
    """Killed in the middle of an embedded decoding, gunicorn leaves neither recordings nor recogniser processes."""
    service = live_service(**GENEROUS)
    assert service.upload(wav(blunt)).status_code == 200
    servers = {pid for pid in service.group() if b"gunicorn" in command_line(pid)}
    recognisers = service.group() - servers
    assert recognisers
    with ThreadPoolExecutor(1) as clients:
        upload = clients.submit(service.upload, seconds_of(blunt, 60))
        wait_until(lambda: open_recordings(service), "the recording to arrive")
        for pid in servers:
            os.kill(pid, signal.SIGKILL)
        service.process.wait(timeout=10)
        with pytest.raises(requests.ConnectionError):
            upload.result()
    assert service.leftovers() == []
    wait_until(lambda: not service.group(), "the recognisers to end")


def command_line(pid: int) -> bytes:
    """Return what a process was started with."""
    with open(f"/proc/{pid}/cmdline", "rb") as file:
        return file.read()


def test_a_worker_that_dies_is_replaced(
    connected: Start, redis_server: Redis, upstreams: Upstreams, blunt: Pcm
) -> None:
    """The uploads in flight on it are lost with their files; the service and its limits go on."""
    gated = gate()
    upstreams.google.always(gated)
    service = connected(REDIS_URI=redis_server.uri, WEB_CONCURRENCY="1")
    with ThreadPoolExecutor(1) as clients:
        upload = clients.submit(service.upload, wav(blunt))
        upstreams.google.wait_for(1)
        (worker,) = service.group() - {service.process.pid}
        os.kill(worker, signal.SIGKILL)
        with pytest.raises(requests.ConnectionError):
            upload.result()
    gated.release()
    assert service.leftovers() == []
    assert service.upload(wav(blunt)).headers["X-RateLimit-Remaining"] == "8"


PRELOAD = "--preload --access-logfile - --workers 2"
"""What Render injects (https://render.com/docs/deploy-flask), with two workers."""


def test_preloaded_workers_share_nothing_that_breaks(connected: Start, upstreams: Upstreams, blunt: Pcm) -> None:
    """With the app loaded before the fork every worker has its own connections, admission and threads."""
    gated = gate()
    upstreams.google.always(gated)
    service = connected(GUNICORN_CMD_ARGS=PRELOAD, MAX_IN_FLIGHT="1", **GENEROUS)
    recording = wav(blunt)
    with ThreadPoolExecutor(2) as clients:
        first = clients.submit(until_admitted, service, recording)
        second = clients.submit(until_admitted, service, recording)
        upstreams.google.wait_for(2, timeout_s=20)
        gated.release()
        assert [first.result().status_code, second.result().status_code] == [200, 200]
    assert len([line for line in service.log_lines() if line["message"] == "engines"]) == 1
    assert service.log.count("Booting worker") == 2


def test_preloaded_workers_recognise_on_their_own(live_service: Start, blunt: Pcm) -> None:
    """The embedded engines work in processes that each worker starts after the fork."""
    service = live_service(GUNICORN_CMD_ARGS=PRELOAD, **GENEROUS)
    recording = wav(blunt)
    with ThreadPoolExecutor(4) as clients:
        answers = list(clients.map(lambda _: service.upload(recording), range(4)))
    assert [answer.status_code for answer in answers] == [200] * 4
    assert {answer.json()["input"] for answer in answers} == {samples.SAID["blunt.wav"]}
    service.stop()
    assert service.process.returncode == 0
    wait_until(lambda: not service.group(), "the recognisers to end")
