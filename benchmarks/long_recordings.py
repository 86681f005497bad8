"""Long recordings: the time to an answer, the sound recognised for it, the memory, and what decoding costs."""

import argparse
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

import requests

from benchmarks import machine, results
from benchmarks.recordings import in_formats, speech, webm
from benchmarks.results import Check, number, table
from benchmarks.servers import App
from refiner.audio import decode
from tests.sound import wav
from tests.upstreams import Behaviour, Exchange, Upstreams, delay_by_length, talker

MINUTE_S = 60
LENGTHS_MIN = (1, 10, 60)
WORDS_PER_S = 2.5
_ENV = {"RATE_LIMIT": "1000000/second", "MAX_UPLOAD_MB": "200", "GROQ_API_KEY": "gsk_of_nobody", "THREADS": "8"}


class Listener:
    """A recogniser that takes its time, and keeps count of the seconds it was sent."""

    def __init__(self, upstreams: Upstreams) -> None:
        self._heard_s = 0.0
        self._lock = threading.Lock()
        self._waits = delay_by_length(fixed_s=0.3, factor=0.1)
        for upstream in upstreams.all:
            upstream.keep = 0
            upstream.reset()
        upstreams.google.hears = talker(WORDS_PER_S)
        upstreams.google.always(Behaviour("listen", self._listen))

    def _listen(self, exchange: Exchange) -> None:
        heard = exchange.upstream.heard(exchange.request)
        with self._lock:
            self._heard_s += heard.seconds if heard else 0
        self._waits.play(exchange)

    def take_heard_s(self) -> float:
        """Return the seconds sent since the last call."""
        with self._lock:
            heard_s, self._heard_s = self._heard_s, 0.0
        return heard_s


@dataclass(frozen=True)
class Answer:
    """What one recording cost; `total_ms` leaves the upload out."""

    total_ms: float
    heard_s: float
    words: int


@dataclass(frozen=True)
class Growth:
    """How much more memory the worker held at its peak than before; `rss_mib` counts mapped file pages too."""

    rss_mib: float
    anonymous_mib: float


def answer(app: App, listener: Listener, recording: Path) -> Answer:
    """Upload one recording."""
    with recording.open("rb") as file:
        response = requests.post(f"{app.url}/upload", files={"audio": file}, timeout=120)
    response.raise_for_status()
    meta: dict[str, Any] = response.json()["meta"]
    return Answer(meta["timing_ms"]["total"], listener.take_heard_s(), meta["words"])


def growth(app: App, listener: Listener, recording: Path) -> Growth:
    """Watch the worker while it works on one recording."""
    (worker,) = app.workers
    before = [machine.status_mib(worker, field) for field in ("VmRSS", "RssAnon")]
    with (
        machine.Peak(lambda: machine.status_mib(worker, "VmRSS"), every_s=0.005) as rss,
        machine.Peak(lambda: machine.status_mib(worker, "RssAnon"), every_s=0.005) as anonymous,
    ):
        answer(app, listener, recording)
    return Growth(max(0.0, rss.highest - before[0]), max(0.0, anonymous.highest - before[1]))


def write(directory: Path, lengths_min: Iterable[int]) -> dict[str, Path]:
    """Write the recordings and return where they are."""
    written = {}
    for minutes in lengths_min:
        pcm = speech(minutes * MINUTE_S)
        for container, content in (("wav", wav(pcm)), ("webm", webm(pcm))):
            written[f"{minutes} min {container}"] = directory / f"{minutes}.{container}"
            written[f"{minutes} min {container}"].write_bytes(content)
    return written


def answers(directory: Path, *, lengths_min: Iterable[int], rounds: int) -> tuple[dict[str, list[Answer]], Growth]:
    """Upload each recording once a round, and watch the memory under the longest WAV."""
    recordings = write(directory, lengths_min)
    seen: dict[str, list[Answer]] = {name: [] for name in recordings}
    with Upstreams() as upstreams:
        listener = Listener(upstreams)
        env = {"GOOGLE_SPEECH_URL": upstreams.google_url, "LLM_BASE_URL": upstreams.openai_url}
        with App(directory, "main:app", _ENV | env) as app:
            answer(app, listener, recordings["1 min wav"])
            grown = growth(app, listener, recordings[f"{max(lengths_min)} min wav"])
            for _ in range(rounds):
                for name, recording in recordings.items():
                    seen[name].append(answer(app, listener, recording))
    return seen, grown


def decoding_cpu_ms(directory: Path, *, rounds: int) -> dict[str, float]:
    """Return the processor milliseconds for each second of sound, by format."""
    return {
        name: median(_decode_cpu_ms(directory, content) for _ in range(rounds))
        for name, content in in_formats(speech(MINUTE_S)).items()
    }


def _decode_cpu_ms(directory: Path, content: bytes) -> float:
    with tempfile.TemporaryFile(dir=directory) as file:
        file.write(content)
        file.flush()
        started_s = time.process_time()
        for _ in decode(file):
            pass
        return (time.process_time() - started_s) * 1000 / MINUTE_S


def checks(seen: dict[str, list[Answer]], grown: Growth, cpu_ms: dict[str, float]) -> list[Check]:
    """Hold what was measured against what it must be."""
    return [*_answer_checks(seen), *_growth_checks(grown), *_decoding_checks(cpu_ms)]


def _answer_checks(seen: dict[str, list[Answer]]) -> Iterable[Check]:
    for name, answered in seen.items():
        shortest = seen[f"{LENGTHS_MIN[0]} min {name.split()[-1]}"]
        ratio = median(ours.total_ms / theirs.total_ms for ours, theirs in zip(answered, shortest, strict=True))
        if answered is not shortest:
            yield Check(f"{name}: time, to that of 1 min", ratio, at_most=1.15)
        yield Check(f"{name}: sound recognised", max(each.heard_s for each in answered), "s", at_most=90)


def _growth_checks(grown: Growth) -> Iterable[Check]:
    yield Check("growth under the longest WAV, RSS with mapped file pages", grown.rss_mib, "MiB", at_most=40)
    yield Check("growth under the longest WAV, anonymous memory alone", grown.anonymous_mib, "MiB")


def _decoding_checks(cpu_ms: dict[str, float]) -> Iterable[Check]:
    for name, cost in cpu_ms.items():
        limit = 0.5 if name == "WAV, 16 kHz mono" else None if name.startswith("WAV") else 3.0
        yield Check(f"decoding, {name}: CPU per second of sound", cost, "ms", at_most=limit)


def side_by_side(seen: dict[str, list[Answer]]) -> str:
    """Format the medians by recording."""
    rows = (
        [
            name,
            number(median(each.total_ms for each in answered)),
            number(median(each.heard_s for each in answered)),
            str(answered[0].words),
        ]
        for name, answered in seen.items()
    )
    return table(("recording", "time, ms", "sound recognised, s", "words"), rows)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one round, ten minutes at most")
    options = parser.parse_args()
    rounds, lengths_min = (1, LENGTHS_MIN[:2]) if options.quick else (5, LENGTHS_MIN)
    with tempfile.TemporaryDirectory() as name, machine.Others() as others:
        directory = Path(name)
        seen, grown = answers(directory, lengths_min=lengths_min, rounds=rounds)
        cpu_ms = decoding_cpu_ms(directory, rounds=rounds)
    data = {
        "answers": {name: list(map(asdict, all_)) for name, all_ in seen.items()},
        "growth": asdict(grown),
        "decoding_cpu_ms": cpu_ms,
    }
    results.save("long_recordings", data, checks(seen, grown, cpu_ms), others=others, tables=[side_by_side(seen)])


if __name__ == "__main__":
    main()
