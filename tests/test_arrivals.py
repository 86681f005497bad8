import socket
import threading
from collections.abc import Iterator

import pytest

from refiner.arrivals import Arrival, Arrivals
from refiner.deadline import Deadline


@pytest.fixture
def connection() -> Iterator[tuple[socket.socket, socket.socket]]:
    """The two ends of a TCP connection: the server's and the client's."""
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        with server:
            yield server, client


def reader(sock: socket.socket) -> tuple[threading.Thread, list[bytes]]:
    """Start reading one body; the list holds what came, then its end."""
    received: list[bytes] = []

    def read() -> None:
        while data := sock.recv(65_536):
            received.append(data)
        received.append(b"")

    thread = threading.Thread(target=read)
    thread.start()
    return thread, received


def test_a_body_that_does_not_arrive_is_cut_off_at_its_deadline(
    connection: tuple[socket.socket, socket.socket],
) -> None:
    """The reader sees the end of the body, and can still answer."""
    server, client = connection
    client.sendall(b"half")
    with Arrivals().expecting({"gunicorn.socket": server}, Deadline(0.1)):
        reading, received = reader(server)
        reading.join(timeout=10)
    assert b"".join(received) == b"half"
    assert received[-1] == b""
    server.sendall(b"an answer")
    assert client.recv(100) == b"an answer"


def test_an_earlier_deadline_is_noticed_while_a_later_one_is_waited_for(
    connection: tuple[socket.socket, socket.socket],
) -> None:
    """The watcher is woken by whoever is more urgent."""
    server, _ = connection
    arrivals = Arrivals()
    patient, impatient = socket.socketpair()
    with (
        patient,
        impatient,
        arrivals.expecting({"gunicorn.socket": patient}, Deadline(3600)),
        arrivals.expecting({"gunicorn.socket": server}, Deadline(0.1)),
    ):
        reading, received = reader(server)
        reading.join(timeout=10)
    assert received == [b""]


def test_a_body_that_has_arrived_is_left_alone(connection: tuple[socket.socket, socket.socket]) -> None:
    """After the reading the connection is used on, whatever the deadline."""
    server, client = connection
    arrivals = Arrivals()
    with arrivals.expecting({"gunicorn.socket": server}, Deadline(0.05)):
        pass
    with arrivals.expecting({"gunicorn.socket": server}, Deadline(3600)):
        assert not arrivals.cut_slowest()
    client.sendall(b"next request")
    assert server.recv(100) == b"next request"


def test_the_slowest_body_makes_room(
    connection: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that hardly arrives is cut off, one that arrives is not."""
    monkeypatch.setattr("refiner.arrivals.PATIENCE_S", 0.0)
    server, _ = connection
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as quick:
        busy, _ = listener.accept()
        arrivals = Arrivals()
        with (
            busy,
            arrivals.expecting({"gunicorn.socket": server}, Deadline(60)),
            arrivals.expecting({"gunicorn.socket": busy}, Deadline(60)),
        ):
            quick.sendall(bytes(1_000_000 // 4))
            reading, received = reader(server)
            assert arrivals.cut_slowest()
            reading.join(timeout=10)
            assert received == [b""]
            assert busy.recv(10) == bytes(10)


def test_speed_is_not_judged_too_early(connection: tuple[socket.socket, socket.socket]) -> None:
    """Everybody gets a moment to start."""
    server, _ = connection
    assert Arrival(server, Deadline(60)).speed_bytes_s() == float("inf")


def test_what_is_not_tcp_is_never_too_slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy on a Unix socket, the proxy has the body already."""
    monkeypatch.setattr("refiner.arrivals.PATIENCE_S", 0.0)
    one, other = socket.socketpair()
    with one, other:
        assert Arrival(one, Deadline(60)).speed_bytes_s() == float("inf")


def test_without_a_known_connection_nothing_is_watched() -> None:
    """Other servers, and tests, have no socket to show."""
    with Arrivals().expecting({}, Deadline(0.01)):
        pass


def test_the_rest_of_a_refused_body_is_read_for_a_moment_only(
    connection: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is under way is taken in, what never comes is not waited for."""
    monkeypatch.setattr("refiner.arrivals.DISCARD_S", 0.1)
    server, client = connection
    client.sendall(bytes(100_000))
    with server.makefile("rb") as body:
        Arrivals().discard({"gunicorn.socket": server, "wsgi.input": body})
        assert body.read(1) == b""
