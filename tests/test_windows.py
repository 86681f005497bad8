from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from limits import parse_many
from limits.storage import RedisStorage

from refiner.windows import RedisWindows
from tests.service import Redis

MINUTE, DAY = sorted(parse_many("3/minute;5/day"))
Ask = Callable[[], bool]


@pytest.fixture
def windows(redis_server: Redis) -> RedisWindows:
    """Three a minute and five a day, in a real Redis."""
    return RedisWindows(RedisStorage(redis_server.uri), [DAY, MINUTE])


def ask(windows: RedisWindows, client: str = "c") -> bool:
    """Ask as Flask-Limiter does: each limit in turn until one refuses."""
    return all(windows.hit(item, client) for item in (MINUTE, DAY))


def test_so_many_and_no_more(windows: RedisWindows) -> None:
    """The shortest window refuses first, and other clients are not concerned."""
    assert [ask(windows) for _ in range(4)] == [True, True, True, False]
    assert ask(windows, "other")


def test_the_window_slides(windows: RedisWindows, redis_server: Redis) -> None:
    """Never more than three in any minute: what came half a minute ago still counts half a minute later."""
    assert [ask(windows) for _ in range(2)] == [True, True]
    redis_server.age(40)
    assert [ask(windows) for _ in range(2)] == [True, False]
    redis_server.age(30)
    assert [ask(windows) for _ in range(3)] == [True, True, False]


def test_a_refused_request_costs_nothing(windows: RedisWindows, redis_server: Redis) -> None:
    """Whoever is refused by one window is entered in none."""
    for _ in range(10):
        ask(windows)
    assert windows.get_window_stats(DAY, "c").remaining == 2
    redis_server.age(61)
    assert [ask(windows) for _ in range(3)] == [True, True, False]
    assert windows.get_window_stats(MINUTE, "c").remaining == 1


def test_what_remains_is_known_without_another_trip(windows: RedisWindows, redis_server: Redis) -> None:
    """The headers cost nothing more: the answer was in the first trip."""
    ask(windows)
    calls = redis_server.client().info("commandstats")["cmdstat_evalsha"]["calls"]
    stats = [windows.get_window_stats(item, "c") for item in (MINUTE, DAY)]
    assert [stat.remaining for stat in stats] == [2, 4]
    assert stats[1].reset_time - stats[0].reset_time == pytest.approx(DAY.get_expiry() - MINUTE.get_expiry())
    assert redis_server.client().info("commandstats")["cmdstat_evalsha"]["calls"] == calls


def test_simultaneous_requests_are_counted_exactly(windows: RedisWindows) -> None:
    """Thirty threads share three places."""
    with ThreadPoolExecutor(30) as threads:
        assert sum(threads.map(lambda _: ask(windows), range(30))) == 3


def test_a_restarted_redis_gets_the_script_anew(windows: RedisWindows, redis_server: Redis) -> None:
    """Its memory of scripts is gone as well as its counts."""
    ask(windows)
    redis_server.client().script_flush()
    assert ask(windows)


def test_keys_do_not_outlive_their_window(windows: RedisWindows, redis_server: Redis) -> None:
    """Nothing about a client stays for longer than a day."""
    ask(windows)
    redis = redis_server.client()
    assert sorted(redis.ttl(key) for key in redis.scan_iter()) == [60, 86_400]
