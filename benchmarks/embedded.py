"""The embedded engines: how long one utterance takes, how four get on together, and whether the server stays awake."""

import argparse
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median, quantiles

import requests

from benchmarks import machine, results
from benchmarks.recordings import speech
from benchmarks.results import Check
from benchmarks.servers import App
from refiner.audio import Pcm
from refiner.sphinx import decode_utterances, load_decoder
from tests.sound import wav

UTTERANCE_S = 10
SIDE_BY_SIDE = 4
_ASKED_EVERY_S = 0.025
_ENV = {"TRANSCRIBER": "sphinx", "REWRITER": "phrasebook", "RATE_LIMIT": "1000000/second"}


@contextmanager
def cores(count: int) -> Iterator[None]:
    """Let this process, and what it starts meanwhile, use so many cores only."""
    usual = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(usual)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, usual)


class HealthWatch:
    """Somebody who asks /health again and again; `latencies_ms` is how long each answer took."""

    def __init__(self, app: App) -> None:
        self.latencies_ms: list[float] = []
        self._url = f"{app.url}/health"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def _watch(self) -> None:
        with requests.Session() as session:
            while not self._ended.wait(_ASKED_EVERY_S):
                started_s = time.perf_counter()
                session.get(self._url, timeout=30).raise_for_status()
                self.latencies_ms.append((time.perf_counter() - started_s) * 1000)

    def __enter__(self) -> "HealthWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()


def seconds(app: App, recording: bytes, *, at_once: int = 1) -> float:
    """Upload an utterance so many times at the same moment and wait for all answers."""

    def upload(_: int) -> None:
        requests.post(f"{app.url}/upload", files={"audio": recording}, timeout=120).raise_for_status()

    started_s = time.perf_counter()
    with ThreadPoolExecutor(at_once) as clients:
        list(clients.map(upload, range(at_once)))
    return time.perf_counter() - started_s


def on_one_core(directory: Path, recording: bytes, *, rounds: int) -> list[float]:
    """Return how long an utterance takes on one core once the models are loaded."""
    with cores(1), App(directory, "main:app", _ENV) as app:
        seconds(app, recording)
        return [seconds(app, recording) for _ in range(rounds)]


@dataclass(frozen=True)
class Round:
    """One utterance alone and four at once, by the clock and in processor time, and /health meanwhile."""

    alone_s: float
    together_s: float
    alone_cpu_s: float
    together_cpu_s: float
    health_ms: list[float]


def on_two_cores(directory: Path, recording: bytes, *, rounds: int) -> list[Round]:
    """Return what one utterance alone and four at once take, in turns."""
    with cores(2), App(directory, "main:app", _ENV) as app:
        seconds(app, recording, at_once=SIDE_BY_SIDE)
        return [_round(app, recording) for _ in range(rounds)]


def _round(app: App, recording: bytes) -> Round:
    before_s = machine.cpu_s(app.pid)
    alone_s = seconds(app, recording)
    between_s = machine.cpu_s(app.pid)
    with HealthWatch(app) as watch:
        together_s = seconds(app, recording, at_once=SIDE_BY_SIDE)
    after_s = machine.cpu_s(app.pid)
    return Round(alone_s, together_s, between_s - before_s, after_s - between_s, watch.latencies_ms)


def bare(recording: Pcm, *, rounds: int) -> list[float]:
    """Return how much longer four utterances take than one in two processes of the decoder, without any server."""
    with cores(2), ProcessPoolExecutor(2, multiprocessing.get_context("spawn"), initializer=load_decoder) as pool:
        _decode(pool, recording, SIDE_BY_SIDE)
        alone_s, together_s = zip(
            *((_decode(pool, recording, 1), _decode(pool, recording, SIDE_BY_SIDE)) for _ in range(rounds)), strict=True
        )
    return [many / one for many, one in zip(together_s, alone_s, strict=True)]


def _decode(pool: ProcessPoolExecutor, recording: Pcm, count: int) -> float:
    started_s = time.perf_counter()
    list(pool.map(decode_utterances, [recording.tobytes()] * count))
    return time.perf_counter() - started_s


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round")
    rounds = 1 if parser.parse_args().quick else 5
    utterance = speech(UTTERANCE_S)
    recording = wav(utterance)
    with tempfile.TemporaryDirectory() as name, machine.Others() as others:
        one_core = on_one_core(Path(name), recording, rounds=rounds)
        two_cores = on_two_cores(Path(name), recording, rounds=rounds)
        without_server = bare(utterance, rounds=rounds)
    data = {"one_core_s": one_core, "without_server": without_server, "two_cores": list(map(asdict, two_cores))}
    results.save("embedded", data, checks(one_core, two_cores, without_server), others=others)


def checks(one_core: list[float], two_cores: list[Round], without_server: list[float]) -> list[Check]:
    """Hold what was measured against what it must be."""
    health_ms = [latency_ms for round_ in two_cores for latency_ms in round_.health_ms]
    ratio = median(round_.together_s / round_.alone_s for round_ in two_cores)
    cpu_ratio = median(round_.together_cpu_s / round_.alone_cpu_s for round_ in two_cores)
    return [
        Check("10 s utterance, one warm core", median(one_core), "s", at_most=2.5),
        Check("10 s utterance alone on two cores", median(round_.alone_s for round_ in two_cores), "s"),
        Check("four at once on two cores", median(round_.together_s for round_ in two_cores), "s"),
        Check("four at once, to one alone", ratio, at_most=2.4),
        Check("four at once, to one alone: the decoder without the service", median(without_server)),
        Check("four at once, to one alone: processor time, shared by two cores", cpu_ratio / 2),
        Check("/health meanwhile, 99th percentile", quantiles(health_ms, n=100)[98], "ms", at_most=100),
    ]


if __name__ == "__main__":
    main()
