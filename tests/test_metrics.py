from collections.abc import Callable

import requests
from prometheus_client.parser import text_string_to_metric_families

from refiner.deadline import Deadline
from refiner.metrics import Metrics
from refiner.telemetry import Exchange
from tests.service import Redis, Service


def samples(text: str) -> dict[tuple[str, tuple[str, ...]], float]:
    """Return each sample's value by its name and labels."""
    families = text_string_to_metric_families(text)
    return {(s.name, tuple(sorted(s.labels.values()))): s.value for family in families for s in family.samples}


def test_an_exchange_is_counted_when_it_is_closed() -> None:
    """Status, code, steps and size go into the numbers, and nothing about who or what."""
    metrics = Metrics()
    exchange = Exchange(request_id="id-1", method="POST", route="upload", client="c", deadline=Deadline(60))
    metrics.watch(exchange)
    assert samples(metrics.exposition().decode())["politeness_open_requests", ()] == 1
    exchange.facts |= {"status": 200, "timing_ms": {"transcribe": 400}, "bytes": 5000}
    exchange.close()
    counted = samples(metrics.exposition().decode())
    assert counted["politeness_open_requests", ()] == 0
    assert counted["politeness_requests_total", ("200", "ok", "upload")] == 1
    assert counted["politeness_step_seconds_sum", ("transcribe",)] == 0.4
    assert counted["politeness_upload_bytes_count", ()] == 1
    assert "id-1" not in metrics.exposition().decode()


def test_numbers_of_all_workers_add_up(live_service: Callable[..., Service], redis_server: Redis) -> None:
    """Whichever worker is asked tells what all of them did."""
    service = live_service(METRICS="1", REDIS_URI=redis_server.uri, WEB_CONCURRENCY="2", RATE_LIMIT="1000/minute")
    for _ in range(20):
        service.upload(b"")
    for _ in range(5):
        counted = samples(requests.get(f"{service.url}/metrics", timeout=30).text)
        assert counted["politeness_requests_total", ("400", "empty_audio", "upload")] == 20


def test_numbers_are_off_unless_asked_for(shared: Service) -> None:
    """Nobody finds them by accident."""
    assert requests.get(f"{shared.url}/metrics", timeout=30).status_code == 404
