import pytest
from flask import Flask, request

from refiner.arrivals import Arrivals
from refiner.limits import Admission, client_address
from refiner.settings import Settings

PEER = "192.0.2.7"


def address(settings: Settings, headers: list[tuple[str, str]], peer: str = PEER) -> str:
    """Return who a request with these headers counts as."""
    with Flask(__name__).test_request_context(headers=headers, environ_base={"REMOTE_ADDR": peer}):
        return client_address(request, settings)


@pytest.mark.parametrize(
    ("peer", "client"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("", "unknown"),
    ],
)
def test_a_client_is_an_address_or_a_network(peer: str, client: str) -> None:
    """One IPv6 client owns a whole /64, and an IPv4 address stays itself however it is written."""
    assert address(Settings(), [], peer) == client


@pytest.mark.parametrize(
    ("hops", "forwarded", "client"),
    [
        (0, "203.0.113.5", PEER),
        (1, "203.0.113.5", "203.0.113.5"),
        (1, "6.6.6.6, 203.0.113.5", "203.0.113.5"),
        (2, "6.6.6.6, 203.0.113.5, 10.0.0.1", "203.0.113.5"),
        (3, "203.0.113.5, 10.0.0.1", PEER),
        (1, "not an address", PEER),
        (1, "6.6.6.6, ", PEER),
        (1, "", PEER),
        (1, "203.0.113.5:1234", PEER),
        (1, "2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
    ],
)
def test_only_the_trusted_proxies_entries_count(hops: int, forwarded: str, client: str) -> None:
    """What a client writes in front of its proxies' entries never buys a new allowance."""
    assert address(Settings(proxy_hops=hops), [("X-Forwarded-For", forwarded)]) == client


def test_forwarding_headers_that_come_twice_are_read_as_one() -> None:
    """A second header line is a continuation, not a way to hide the first."""
    headers = [("X-Forwarded-For", "6.6.6.6"), ("X-Forwarded-For", "203.0.113.5")]
    assert address(Settings(proxy_hops=1), headers) == "203.0.113.5"


@pytest.mark.parametrize(
    ("value", "client"),
    [
        ("203.0.113.5", "203.0.113.5"),
        ("203.0.113.5, 6.6.6.6", PEER),
        ("", PEER),
        ("x" * 5000, PEER),
        ("1.2.3.4.5", PEER),
    ],
)
def test_the_platforms_header_must_hold_one_valid_address(value: str, client: str) -> None:
    """Anything else in it falls back to the peer's own address."""
    settings = Settings(client_ip_header="True-Client-IP", proxy_hops=1)
    headers = [("True-Client-IP", value), ("X-Forwarded-For", "6.6.6.6")]
    assert address(settings, headers) == client


def test_admission_takes_so_many_and_no_more() -> None:
    """A place given back is a place for the next."""
    admission = Admission(2, Arrivals())
    assert [admission.enter(), admission.enter(), admission.enter()] == [True, True, False]
    admission.leave()
    assert admission.enter()
