"""The service beside the straightforward implementation and the floor: requests, latency, processor time, memory."""

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

from benchmarks import load, machine, results
from benchmarks.recordings import SHORT, speech
from benchmarks.results import Check, number, table
from benchmarks.servers import RECOGNIZE_S, REWRITE_S, App, FastUpstreams, versions
from refiner.audio import SAMPLE_RATE_HZ
from tests.service import Redis
from tests.sound import wav

APPS = {"service": "main:app", "baseline": "benchmarks.baseline:app", "floor": "benchmarks.floor:app"}
CLIENTS, WAITING_CLIENTS, LARGE_UPLOADS = 32, 64, 32
TURN_S, ALONE_S = 2, 1
LARGE_BYTES = 24 * 1024 * 1024
T = TypeVar("T")
# Every request comes from another address, so the usual limits are checked and counted each time but never reached;
# one worker may be handed all the connections, so each has a thread for all of them.
_ENV = {"PROXY_HOPS": "1", "WEB_CONCURRENCY": "2", "THREADS": "64", "MAX_IN_FLIGHT": "64"}


@dataclass(frozen=True)
class Start:
    """What one start of an app cost, and the memory of its larger worker once it has answered."""

    first_health_s: float
    idle_rss_mib: float
    idle_pss_mib: float


@dataclass(frozen=True)
class Turn:
    """What one app did when it was its turn."""

    requests_per_s: float
    cpu_ms: float
    p99_ms: float
    alone_ms: float


@dataclass(frozen=True)
class Seen:
    """Everything measured of one app."""

    starts: list[Start]
    turns: list[Turn]
    waiting_requests_per_s: list[float]
    large_uploads_mib: float


class Bench:
    """The programs around the apps, and where everything lies while it lasts."""

    def __init__(self, directory: Path, upstreams: FastUpstreams, redis: Redis) -> None:
        self._directory = directory
        self._upstreams = upstreams
        self._redis = redis

    def app(self, name: str, which: str) -> App:
        """Return an app that talks to one pair of fakes."""
        return App(self._directory, APPS[name], _ENV | self._upstreams.env(which) | {"REDIS_URI": self._redis.uri})

    def start(self, name: str) -> Start:
        """Start an app once and let it answer one upload."""
        with self.app(name, "free") as app:
            app.check(SHORT)
            rss_mib, pss_mib = (
                max(machine.memory_mib(worker, field) for worker in app.workers) for field in ("Rss", "Pss")
            )
            return Start(app.start_s, rss_mib, pss_mib)

    @contextmanager
    def all_apps(self, which: str, *, clients: int) -> Iterator[dict[str, App]]:
        """Run all apps at once, warm; one that has nothing to do costs the others nothing."""
        with ExitStack() as stack:
            apps = {name: stack.enter_context(self.app(name, which)) for name in APPS}
            for app in apps.values():
                app.check(SHORT)
                load.put(app, SHORT, clients=clients, seconds=1)
            yield apps

    def large_uploads_mib(self, name: str) -> float:
        """Return the most memory the whole of an app takes while it is sent many large recordings at once."""
        recording = self._directory / "large.wav"
        recording.write_bytes(wav(speech(LARGE_BYTES / 2 / SAMPLE_RATE_HZ)))
        with self.app(name, "talkative") as app:
            app.check(SHORT)
            with machine.Peak(lambda: machine.tree_memory_mib(app.pid)) as peak:
                load.upload_at_once(app, recording, clients=LARGE_UPLOADS)
        return peak.highest


def turn(app: App) -> Turn:
    """Give one app its turn."""
    loaded = load.put(app, SHORT, clients=CLIENTS, seconds=TURN_S)
    alone = load.put(app, SHORT, clients=1, seconds=ALONE_S)
    return Turn(loaded.requests_per_s, loaded.cpu_ms, loaded.p99_ms, alone.median_ms)


def measure(bench: Bench, *, rounds: int, waiting_s: float) -> dict[str, Seen]:
    """Measure the apps in short turns, a different one first each round, so that all meet the same disturbances."""
    starts = _in_turns(list(APPS), bench.start, rounds=max(1, rounds // 4))
    with bench.all_apps("free", clients=CLIENTS) as apps:
        turns = _in_turns(list(APPS), lambda name: turn(apps[name]), rounds=rounds)
    with bench.all_apps("slow", clients=WAITING_CLIENTS) as apps:
        # What is still under way at the end does not count, which is one answer of many only in a long run.
        waiting = _in_turns(list(APPS), lambda name: _waiting(apps[name], waiting_s), rounds=max(1, rounds // 6))
    large_mib = _in_turns(list(APPS), bench.large_uploads_mib, rounds=1)
    return {name: Seen(starts[name], turns[name], waiting[name], large_mib[name][0]) for name in APPS}


def _waiting(app: App, seconds: float) -> float:
    return load.put(app, SHORT, clients=WAITING_CLIENTS, seconds=seconds).requests_per_s


def _in_turns(names: list[str], run: Callable[[str], T], *, rounds: int) -> dict[str, list[T]]:
    seen: dict[str, list[T]] = {name: [] for name in names}
    for first in range(rounds):
        for name in names[first % len(names) :] + names[: first % len(names)]:
            seen[name].append(run(name))
            print(f"{time.strftime('%X')} {first + 1}/{rounds} {name}: {seen[name][-1]}", flush=True)
    return seen


def checks(seen: dict[str, Seen]) -> list[Check]:
    """Hold the service against what it must reach."""
    service = seen["service"]

    def ratio(value: Callable[[Turn], float], other: str) -> float:
        pairs = zip(service.turns, seen[other].turns, strict=True)
        return median(value(ours) / value(theirs) for ours, theirs in pairs)

    waiting = median(service.waiting_requests_per_s) * (RECOGNIZE_S + REWRITE_S) / WAITING_CLIENTS
    idle_mib = median(start.idle_rss_mib for start in service.starts)
    first_health_s = median(start.first_health_s for start in service.starts)
    return [
        Check("requests/s, 32 clients: to the baseline", ratio(lambda t: t.requests_per_s, "baseline"), at_least=2.5),
        Check("requests/s, 32 clients: to the floor", ratio(lambda t: t.requests_per_s, "floor"), at_least=0.7),
        Check("CPU per request: to the baseline", ratio(lambda t: t.cpu_ms, "baseline")),
        Check("CPU per request: to the floor", ratio(lambda t: t.cpu_ms, "floor")),
        Check("latency, one client: to the baseline", ratio(lambda t: t.alone_ms, "baseline"), at_most=0.5),
        Check("requests/s, 64 clients, waits of 0.3 + 0.2 s: to what these allow", waiting, at_least=0.9),
        Check("32 uploads of 24 MiB at once, whole service (PSS)", service.large_uploads_mib, "MiB", at_most=400),
        Check("idle, larger worker (RSS)", idle_mib, "MiB", at_most=120),
        Check("first /health after the start", first_health_s, "s", at_most=2),
    ]


_COLUMNS: dict[str, Callable[[Seen], float]] = {
    "requests/s, 32 clients": lambda seen: median(turn.requests_per_s for turn in seen.turns),
    "CPU ms per request": lambda seen: median(turn.cpu_ms for turn in seen.turns),
    "99th percentile, 32 clients, ms": lambda seen: median(turn.p99_ms for turn in seen.turns),
    "median, one client, ms": lambda seen: median(turn.alone_ms for turn in seen.turns),
    "requests/s, 64 clients, waits of 0.3 + 0.2 s": lambda seen: median(seen.waiting_requests_per_s),
    "32 uploads of 24 MiB at once: PSS, MiB": lambda seen: seen.large_uploads_mib,
    "idle, larger worker: RSS, MiB": lambda seen: median(start.idle_rss_mib for start in seen.starts),
    "idle, larger worker: PSS, MiB": lambda seen: median(start.idle_pss_mib for start in seen.starts),
    "first /health, s": lambda seen: median(start.first_health_s for start in seen.starts),
}


def side_by_side(seen: dict[str, Seen]) -> str:
    """Format the medians of the three."""
    return table(
        ["", *seen], ([what, *(number(value(app)) for app in seen.values())] for what, value in _COLUMNS.items())
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="two short rounds")
    quick = parser.parse_args().quick
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755)  # nginx's worker gives up root
        with machine.Others() as others, FastUpstreams(directory) as upstreams, Redis(directory) as redis:
            bench = Bench(directory, upstreams, redis)
            seen = measure(bench, rounds=2 if quick else 12, waiting_s=6 if quick else 15)
    data = {"versions": versions(), "apps": {name: asdict(app) for name, app in seen.items()}}
    results.save("throughput", data, checks(seen), others=others, tables=[side_by_side(seen)])


if __name__ == "__main__":
    main()
