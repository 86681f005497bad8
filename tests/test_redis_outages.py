"""Limits while their Redis refuses, hangs and comes back, and the window that slides."""

import random
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import cast

import pytest
import requests
from flask import Flask
from limits import parse

from refiner.audio import Pcm
from refiner.limits import build_limiter
from refiner.settings import Settings
from tests.load import Load
from tests.service import Redis, Service, wait_until
from tests.sound import wav

Start = Callable[..., Service]

OUTAGE_S = 3.5
"""Long enough for the limiter to look again while nothing answers, after one second and after two more."""

SLOWER_S = 1.0
"""How much longer than usual an answer may take while Redis fails."""


def counts(redis_server: Redis) -> bool:
    """Tell whether any request was counted in Redis."""
    return bool(redis_server.client().dbsize())


def statuses(service: Service, count: int) -> list[int]:
    """Return the statuses of so many empty uploads, sorted; each costs allowance and nothing else."""
    return sorted(service.upload(b"").status_code for _ in range(count))


def remaining(service: Service) -> int | None:
    """Return the allowance left after one more upload, None when there was none for it."""
    answer = service.upload(b"")
    return None if answer.status_code == 429 else int(answer.headers["X-RateLimit-Remaining"])


def scripts_run(redis_server: Redis) -> int:
    """Return how often Redis was asked to count."""
    commands = cast(dict[str, dict[str, int]], redis_server.client().info("commandstats"))
    return sum(stats["calls"] for name, stats in commands.items() if name.startswith("cmdstat_eval"))


@pytest.fixture
def loaded(connected: Start, redis_server: Redis, blunt: Pcm) -> Service:
    """A service that counts in Redis, without a noticeable limit, and that has answered once."""
    service = connected(REDIS_URI=redis_server.uri, RATE_LIMIT="100000/minute;1000000/day")
    assert service.upload(wav(blunt)).status_code == 200
    return service


def kill(redis_server: Redis) -> None:
    """Let Redis die."""
    redis_server.process.kill()
    redis_server.process.wait()


OUTAGES: dict[str, tuple[Callable[[Redis], None], Callable[[Redis], None]]] = {
    "killed": (kill, Redis.run),
    "hanging": (Redis.pause, Redis.resume),
}


@pytest.mark.parametrize("outage", OUTAGES)
def test_answers_go_on_through_an_outage(outage: str, loaded: Service, redis_server: Redis, blunt: Pcm) -> None:
    """Under load no request fails, none is more than about a second slower, and the shared count is taken up again."""
    recording = wav(blunt)
    begin, end = OUTAGES[outage]
    with Load(lambda: loaded.upload(recording)) as load:
        load.wait_for_more(20)
        usual_s = median(answer.elapsed_s for answer in load.answers)
        assert counts(redis_server)
        began_at = time.monotonic()
        begin(redis_server)
        wait_until(lambda: load.since(began_at + OUTAGE_S), "answers all through the outage")
        end(redis_server)
        redis_server.client().flushall()
        wait_until(lambda: counts(redis_server), "the shared count")
        load.wait_for_more(20)
    assert {answer.status for answer in load.answers} == {200}
    assert max(answer.elapsed_s for answer in load.answers) < usual_s + SLOWER_S


def test_several_short_outages_in_a_row_are_survived(loaded: Service, redis_server: Redis, blunt: Pcm) -> None:
    """A Redis that is started again and again, as in an update, costs no request either."""
    recording = wav(blunt)
    with Load(lambda: loaded.upload(recording)) as load:
        for _ in range(3):
            load.wait_for_more(8)
            kill(redis_server)
            load.wait_for_more(4)
            redis_server.run()
    assert {answer.status for answer in load.answers} == {200}


def test_limits_go_on_in_memory_and_the_shared_count_is_resumed(connected: Start, redis_server: Redis) -> None:
    """While Redis hangs each process allows the limit once; afterwards what was counted before still counts.

    The request that noticed is counted in both: what it had asked is carried out when Redis wakes up.
    """
    service = connected(REDIS_URI=redis_server.uri, WEB_CONCURRENCY="1")
    assert statuses(service, 6) == [400] * 6
    redis_server.pause()
    assert statuses(service, 15) == [400] * 10 + [429] * 5
    redis_server.resume()
    left: list[int | None] = [None]

    def allowed_again() -> bool:
        left.append(remaining(service))
        return left[-1] is not None

    wait_until(allowed_again, "the shared count")
    assert left[-1] in {2, 3}


def test_a_redis_that_is_not_there_at_the_start_is_found_later(connected: Start, redis_server: Redis) -> None:
    """The service starts without its Redis, limits in memory, and takes up the shared count when there is one."""
    kill(redis_server)
    service = connected(REDIS_URI=redis_server.uri, WEB_CONCURRENCY="1")
    assert statuses(service, 12) == [400] * 10 + [429] * 2
    redis_server.run()
    wait_until(lambda: remaining(service) is not None, "the shared count")
    assert counts(redis_server)


def test_health_never_touches_redis(loaded: Service, redis_server: Redis) -> None:
    """It asks Redis nothing, and answers at once while Redis hangs."""
    url = f"{loaded.url}/health"
    counted = scripts_run(redis_server)
    assert counted
    requests.get(url, timeout=30)
    assert scripts_run(redis_server) == counted
    redis_server.pause()
    answers = [requests.get(url, timeout=30) for _ in range(20)]
    assert {answer.status_code for answer in answers} == {200}
    assert max(answer.elapsed.total_seconds() for answer in answers) < 0.4


class Clock:
    """Stands in for time.time; moves only when told to."""

    def __init__(self) -> None:
        self.now_s = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now_s


Hit = Callable[[float], bool]
"""Ask for one request at a second after the start; True when it is allowed."""


@pytest.fixture(params=["memory", "redis"])
def hit(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Hit:
    """One client's ten requests a minute, counted in memory and in Redis, on a clock of their own."""
    redis_server: Redis | None = None
    if request.param == "redis":
        redis_server = request.getfixturevalue("redis_server")
    settings = Settings(redis_uri=redis_server.uri if redis_server else "", rate_limit="10/minute")
    limiter = build_limiter(Flask(__name__), settings).limiter
    clock, limit = Clock(), parse("10/minute")
    started_at_s, asked_at_s = clock.now_s, time.monotonic()

    def ask(at_s: float) -> bool:
        passed_s, clock.now_s = started_at_s + at_s - clock.now_s, started_at_s + at_s
        if redis_server:  # which counts on a clock of its own, that runs on between two questions
            nonlocal asked_at_s
            asked_before_s, asked_at_s = asked_at_s, time.monotonic()
            redis_server.age(passed_s - (asked_at_s - asked_before_s))
        return limiter.hit(limit, "client")

    monkeypatch.setattr(time, "time", clock)
    return ask


def test_a_boundary_between_two_minutes_doubles_nothing(hit: Hit) -> None:
    """Ten at a minute's end leave none for the next minute's beginning; each comes back sixty seconds after its use."""
    assert [hit(50 + number) for number in range(10)] == [True] * 10
    assert [hit(at_s) for at_s in (59.9, 60.1, 70, 90, 109.9)] == [False] * 5
    assert [hit(110.1), hit(110.2), hit(111.1), hit(111.2)] == [True, False, True, False]


def test_no_minute_ever_sees_more_than_ten(hit: Hit) -> None:
    """Whatever the rhythm, any sixty seconds hold at most ten allowed requests, and waiting always helps."""
    rhythm = random.Random(5)
    at_s, allowed = 0.0, []
    for _ in range(400):
        at_s += rhythm.choice((0.01, 0.5, 3, 11)) * rhythm.random()
        if hit(at_s):
            allowed.append(at_s)
    assert all(later - earlier >= 59.9 for earlier, later in zip(allowed, allowed[10:], strict=False))
    assert hit(at_s + 60)
