"""Counts and timings for Prometheus, right with several worker processes."""

import os

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from refiner.telemetry import Exchange

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2, 3, 5, 10, 20, 40, 60)
_BYTES = tuple(1024.0 * 4**power for power in range(2, 9))


class Metrics:
    """What this process has served.

    Where PROMETHEUS_MULTIPROC_DIR is set (gunicorn.conf.py does), every worker's numbers are added up on reading
    (https://prometheus.github.io/client_python/multiprocess/).
    """

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "politeness_requests", "Requests answered.", ("route", "status", "code"), registry=registry
        )
        self._steps = Histogram(
            "politeness_step_seconds", "Time spent on each step.", ("step",), buckets=_SECONDS, registry=registry
        )
        self._bytes = Histogram(
            "politeness_upload_bytes", "Sizes of the recordings.", buckets=_BYTES, registry=registry
        )
        self._open = Gauge(
            "politeness_open_requests", "Requests being answered.", registry=registry, multiprocess_mode="livesum"
        )

    def watch(self, exchange: Exchange) -> None:
        """Count one exchange, from now until it is closed."""
        self._open.inc()
        exchange.holds.callback(self._count, exchange)

    def exposition(self) -> bytes:
        """Return all numbers in the Prometheus text format."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        registry = CollectorRegistry()
        MultiProcessCollector(registry)
        return generate_latest(registry)

    def _count(self, exchange: Exchange) -> None:
        facts = exchange.facts
        self._open.dec()
        self._requests.labels(exchange.route, facts.get("status", 500), facts.get("code", "ok")).inc()
        for step, ms in facts.get("timing_ms", {}).items():
            self._steps.labels(step).observe(ms / 1000)
        if "bytes" in facts:
            self._bytes.observe(facts["bytes"])
