import io
import json
import logging

import pytest

from refiner.deadline import Deadline
from refiner.telemetry import (
    Exchange,
    TerminalFormatter,
    client_hasher,
    configure_logging,
    log,
    request_id,
    server_timing,
)


def exchange() -> Exchange:
    """Make an exchange as a request would."""
    return Exchange(request_id="id-1", method="POST", route="upload", client="c", deadline=Deadline(60))


@pytest.mark.parametrize("proposed", ["abc-123", "0af7651916cd43dd8448eb211c80319c", "A:b.c_d"])
def test_a_sane_request_id_is_kept(proposed: str) -> None:
    """A caller may bring its own id."""
    assert request_id(proposed) == proposed


@pytest.mark.parametrize("proposed", [None, "", "a b", "x" * 200, "a\nb", "<script>"])
def test_any_other_request_id_is_replaced(proposed: str | None) -> None:
    """Nothing that could forge a log line or a header is echoed."""
    assert request_id(proposed) != proposed
    assert request_id(proposed) != request_id(proposed)


def test_clients_are_told_apart_without_being_named() -> None:
    """The same address gets the same name under the same secrets, and another one under others."""
    hashed, again, other = client_hasher(("key",)), client_hasher(("key",)), client_hasher(("other",))
    assert hashed("192.0.2.1") == again("192.0.2.1") != hashed("192.0.2.2")
    assert hashed("192.0.2.1") != other("192.0.2.1")
    assert "192" not in hashed("192.0.2.1")
    assert client_hasher(())("192.0.2.1") != client_hasher(())("192.0.2.1")


def test_an_exchange_gives_back_what_it_holds_once(caplog: pytest.LogCaptureFixture) -> None:
    """Closing twice frees and logs once, with every fact in the line."""
    freed: list[str] = []
    one = exchange()
    one.holds.callback(freed.append, "place")
    one.facts["status"] = 200
    log.propagate = True
    with caplog.at_level(logging.INFO, logger="politeness"):
        one.close()
        one.close()
    assert freed == ["place"]
    (record,) = caplog.records
    assert (record.__dict__["request_id"], record.__dict__["status"]) == ("id-1", 200)


def test_timings_become_a_header() -> None:
    """Browsers show Server-Timing as it is specified."""
    assert server_timing({"decode": 2, "total": 675}) == "decode;dur=2, total;dur=675"


def test_lines_elsewhere_are_json(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not a terminal gets one object a line."""
    written = io.StringIO()
    monkeypatch.setattr("sys.stderr", written)
    configure_logging("info")
    log.info("request", extra={"status": 200})
    line = json.loads(written.getvalue())
    assert (line["message"], line["status"]) == ("request", 200)


def test_lines_on_a_terminal_are_readable() -> None:
    """A person gets words and key=value."""
    record = logging.makeLogRecord({"msg": "request", "levelname": "INFO", "status": 200, "ms": 7})
    assert TerminalFormatter("%(levelname)s %(message)s").format(record) == "INFO request status=200 ms=7"
