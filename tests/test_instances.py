"""Three instances behind the nginx of deploy/, with one Redis: as good as one service, and better when one dies."""

import json
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from refiner.audio import Pcm
from tests.conftest import require_program
from tests.load import Load
from tests.nginx import Nginx
from tests.service import Redis, Service, wait_until
from tests.sound import wav
from tests.upstreams import Upstreams, gate

INSTANCES = 3


@dataclass(frozen=True)
class Fleet:
    """Everything that is running."""

    nginx: Nginx
    instances: list[Service]
    redis: Redis
    upstreams: Upstreams

    def upload(self, recording: bytes, headers: dict[str, str] | None = None, *, url: str = "") -> requests.Response:
        """Post one recording to whichever instance nginx chooses, or to one."""
        target = f"{url or self.nginx.url}/upload"
        return requests.post(target, files={"audio": ("speech.wav", recording)}, headers=headers, timeout=60)

    def finished(self, instance: Service) -> Counter[int]:
        """Return how many uploads ended at an instance, by status."""
        lines = [line for line in instance.log_lines() if line.get("route") == "upload"]
        return Counter(line["status"] for line in lines)


@pytest.fixture(scope="module")
def _running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    for program in ("redis-server", "nginx"):
        require_program(program)
    with ExitStack() as running:
        redis_server = running.enter_context(Redis(tmp_path_factory.mktemp("redis")))
        upstreams = running.enter_context(Upstreams())
        env = {
            "GROQ_API_KEY": "gsk-test-key",
            "GOOGLE_SPEECH_URL": upstreams.google_url,
            "LLM_BASE_URL": upstreams.openai_url,
            "REDIS_URI": redis_server.uri,
            "PROXY_HOPS": "1",
            "WEB_CONCURRENCY": "1",
        }
        directories = [tmp_path_factory.mktemp("instance") for _ in range(INSTANCES)]
        instances = [running.enter_context(Service(directory, env)) for directory in directories]
        ports = [instance.port for instance in instances]
        nginx = running.enter_context(Nginx(tmp_path_factory.mktemp("nginx"), ports))
        for instance in instances:
            requests.get(f"{instance.url}/health", timeout=30)
        yield Fleet(nginx, instances, redis_server, upstreams)


@pytest.fixture
def fleet(_running: Fleet) -> Fleet:
    """The instances with nothing counted and the upstreams as good as new."""
    _running.redis.client().flushall()
    _running.upstreams.reset()
    return _running


def test_ten_of_thirty_simultaneous_requests_pass(fleet: Fleet, blunt: Pcm) -> None:
    """One client's allowance is one, however many instances share its requests; and all of them do."""
    before = [fleet.finished(instance).total() for instance in fleet.instances]
    recording = wav(blunt)
    with ThreadPoolExecutor(30) as clients:
        answers = list(clients.map(lambda _: fleet.upload(recording), range(30)))
    assert Counter(answer.status_code for answer in answers) == {200: 10, 429: 20}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 429} == {"rate_limited"}
    assert all(1 <= int(answer.headers["Retry-After"]) <= 60 for answer in answers if answer.status_code == 429)
    assert fleet.upstreams.google.arrived == 10
    wait_until(
        lambda: all(fleet.finished(one).total() > past for one, past in zip(fleet.instances, before, strict=True)),
        "a share for each instance",
    )


FORGED: list[Callable[[int], list[tuple[str, str]]]] = [
    lambda number: [("X-Forwarded-For", f"203.0.113.{number}")],
    lambda number: [("X-Forwarded-For", f"203.0.113.{number}, 198.51.100.{number}, 127.0.0.{number}")],
    lambda number: [("X-Forwarded-For", f"203.0.113.{number}"), ("X-Forwarded-For", f"198.51.100.{number}")],
    lambda number: [("X-Forwarded-For", f"2001:db8:{number}::1")],
    lambda number: [("X-Forwarded-For", f"203.0.113.{number},")],
    lambda number: [("X_Forwarded_For", f"203.0.113.{number}")],
    lambda number: [("True-Client-IP", f"203.0.113.{number}"), ("X-Real-IP", f"203.0.113.{number}")],
    lambda number: [("Forwarded", f"for=203.0.113.{number}"), ("Client-IP", f"203.0.113.{number}")],
]


def test_a_forged_address_never_buys_an_allowance(fleet: Fleet) -> None:
    """Whatever a client writes into the headers that proxies use, it stays the client it is."""
    statuses = Counter(_status_with(fleet.nginx.url, forge(number)) for number in range(1, 5) for forge in FORGED)
    assert statuses == {400: 10, 429: len(FORGED) * 4 - 10}


def test_another_address_has_its_own_allowance(fleet: Fleet) -> None:
    """What nginx itself sees is who the client is."""
    first = [_status_with(fleet.nginx.url, []) for _ in range(11)]
    second = [_status_with(fleet.nginx.url, [], source="127.0.0.2") for _ in range(11)]
    assert first == second == [400] * 10 + [429]


def _status_with(url: str, headers: list[tuple[str, str]], *, source: str = "127.0.0.1") -> int:
    """Post nothing, with headers that may come twice, from one of this machine's own addresses."""
    address = urlsplit(url)
    lines = [f"{name}: {value}" for name, value in (("Host", address.netloc), ("Content-Length", "0"), *headers)]
    head = "\r\n".join(["POST /upload HTTP/1.1", *lines, "Connection: close", "\r\n"])
    with socket.create_connection((address.hostname, address.port), 30, (source, 0)) as connection:
        connection.sendall(head.encode())
        return int(connection.makefile("rb").readline().split()[1])


def test_an_instance_that_dies_costs_what_was_in_flight_on_it(fleet: Fleet, blunt: Pcm) -> None:
    """Its uploads are told to come again, nobody else notices, none is done twice, and it is used again when back."""
    recording, victim = wav(blunt), fleet.instances[0]
    gated = gate()
    fleet.upstreams.google.always(gated)
    with ThreadPoolExecutor(9) as clients:
        uploads = [clients.submit(fleet.upload, recording) for _ in range(9)]
        fleet.upstreams.google.wait_for(9)
        victim.kill()
        fleet.upstreams.google.wait_for_hang_ups(9 // INSTANCES)
        gated.release()
        answers = [upload.result() for upload in uploads]
    lost = [answer for answer in answers if answer.status_code != 200]
    assert len(lost) == fleet.upstreams.google.hang_ups == 9 // INSTANCES
    assert {(answer.status_code, answer.json()["code"]) for answer in lost} == {(503, "overloaded")}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in lost)
    assert all(answer.headers["X-Request-ID"] == answer.json()["request_id"] for answer in lost)
    assert fleet.upstreams.google.arrived == 9
    assert victim.leftovers() == []
    victim.revive()
    wait_until(lambda: _used_again(fleet, victim), "the instance's return")


def _used_again(fleet: Fleet, instance: Service) -> bool:
    before = instance.log.count('"request_id"')
    assert requests.get(f"{fleet.nginx.url}/health", timeout=30).status_code == 200
    return instance.log.count('"request_id"') > before


def test_a_death_under_load_costs_nothing_after_it(fleet: Fleet, blunt: Pcm) -> None:
    """Only requests that were in flight while an instance was killed may fail."""
    recording, victim = wav(blunt), fleet.instances[1]
    fleet.upstreams.google.keep = 0
    with Load(lambda: _fresh_client(fleet, recording)) as load:
        load.wait_for_more(30)
        dying_at = time.monotonic()
        victim.kill()
        dead_at = time.monotonic()
        load.wait_for_more(30)
        victim.revive()
        wait_until(lambda: _used_again(fleet, victim), "the instance's return")
        load.wait_for_more(10)
    failed = [answer for answer in load.answers if answer.status != 200]
    assert {answer.status for answer in failed} <= {503}
    assert all(answer.began_at < dead_at and dying_at < answer.ended_at for answer in failed)


def _fresh_client(fleet: Fleet, recording: bytes) -> requests.Response:
    """Upload with an allowance that never ends."""
    fleet.redis.client().flushall()
    return fleet.upload(recording)


def test_events_pass_through_as_they_come(fleet: Fleet, blunt: Pcm) -> None:
    """The transcript is there while the model is still silent, and its words one by one afterwards."""
    gated = gate()
    fleet.upstreams.chat.always(gated)
    files = {"audio": ("speech.wav", wav(blunt))}
    accept = {"Accept": "text/event-stream"}
    with requests.post(f"{fleet.nginx.url}/upload", files=files, headers=accept, stream=True, timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        events = (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith(b"data: "))
        assert [next(events)["type"], next(events)["type"]] == ["transcript.text.delta", "transcript.text.done"]
        gated.release()
        *deltas, last = events
    assert {event["type"] for event in deltas} == {"output.text.delta"}
    assert "".join(event["delta"] for event in deltas) == last["output"] == fleet.upstreams.chat.says


def test_a_listener_who_leaves_stops_the_work_behind_the_proxy(fleet: Fleet, blunt: Pcm) -> None:
    """A stream that nobody reads any more ends the call to the upstream as well."""
    fleet.upstreams.chat.always(gate())
    files = {"audio": ("speech.wav", wav(blunt))}
    accept = {"Accept": "text/event-stream"}
    with requests.post(f"{fleet.nginx.url}/upload", files=files, headers=accept, stream=True, timeout=30):
        fleet.upstreams.chat.wait_for(1)
    fleet.upstreams.chat.wait_for_hang_ups(1)


@pytest.mark.parametrize("size_mb", [25.5, 60])
def test_too_large_is_said_in_the_words_of_the_contract(size_mb: float, fleet: Fleet) -> None:
    """Whether the service or nginx refuses the body, the answer arrives and is the contract's."""
    answer = fleet.upload(bytes(int(size_mb * 1024 * 1024)))
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert answer.json()["request_id"] == answer.headers["X-Request-ID"]


def test_a_refusal_arrives_before_the_body_has(fleet: Fleet) -> None:
    """A client over its allowance can read so, however much it was about to send."""
    assert [fleet.upload(b"").status_code for _ in range(10)] == [400] * 10
    answer = fleet.upload(bytes(20 * 1024 * 1024))
    assert (answer.status_code, answer.json()["code"]) == (429, "rate_limited")


def test_a_request_keeps_its_id_on_the_way_through(fleet: Fleet) -> None:
    """A sane id is passed on, any other one is replaced, and nobody is told which versions run."""
    for proposed, kept in (("mine-1", True), ('odd"id', False), ("x" * 200, False)):
        answer = requests.get(f"{fleet.nginx.url}/nowhere", headers={"X-Request-ID": proposed}, timeout=30)
        assert answer.headers["X-Request-ID"] == answer.json()["request_id"]
        assert (answer.headers["X-Request-ID"] == proposed) is kept
        assert answer.headers["Server"] == "nginx"


def test_metrics_are_not_served_to_the_outside(fleet: Fleet) -> None:
    """Numbers are for whoever scrapes the instances."""
    answer = requests.get(f"{fleet.nginx.url}/metrics", timeout=30)
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")


def test_without_any_instance_the_answer_is_at_once_and_the_contracts(tmp_path: Path) -> None:
    """Three ports that refuse are a 503 with a wait, in JSON, that pages of any origin may read."""
    require_program("nginx")
    with ExitStack() as held:
        closed = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(INSTANCES)]
        ports = [listener.getsockname()[1] for listener in closed]
    with Nginx(tmp_path, ports) as nginx:
        answer = requests.post(f"{nginx.url}/upload", files={"audio": ("a.wav", b"x" * 100_000)}, timeout=30)
    assert (answer.status_code, answer.json()["code"], answer.headers["Retry-After"]) == (503, "overloaded", "2")
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.elapsed.total_seconds() < 1
