import http.server
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import trustme
import urllib3

from refiner.transport import Call, Transport


class Echo(http.server.BaseHTTPRequestHandler):
    """Answers with the request line and the body."""

    def do_POST(self) -> None:
        """Say what was asked."""
        asked = self.rfile.read(int(self.headers["Content-Length"]))
        answer = self.requestline.encode() + b"\n" + asked
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""


def serving(server: http.server.HTTPServer) -> Iterator[http.server.HTTPServer]:
    """Run a server for the length of a test."""
    with server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def plain() -> Iterator[http.server.HTTPServer]:
    """A server without TLS; it does as a proxy too, since it answers whatever it is asked."""
    yield from serving(http.server.HTTPServer(("127.0.0.1", 0), Echo))


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """A certificate authority nobody trusts by default."""
    return trustme.CA()


@pytest.fixture
def secure(authority: trustme.CA) -> Iterator[http.server.HTTPServer]:
    """A server with a certificate of that authority."""
    server = http.server.HTTPServer(("127.0.0.1", 0), Echo)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    yield from serving(server)


def ask(url: str) -> bytes:
    """Post once and return the whole answer."""
    transport = Transport(url, connections=1)
    with transport.post(url, headers={}, body=b"hello", timeout_s=5, call=Call()) as response:
        return response.read()


def test_path_and_query_are_sent_as_they_are(plain: http.server.HTTPServer) -> None:
    """What the caller encoded is not encoded again."""
    url = f"http://127.0.0.1:{plain.server_port}/v2/recognize?lang=en-US&key=a%2Bb"
    assert ask(url) == b"POST /v2/recognize?lang=en-US&key=a%2Bb HTTP/1.1\nhello"


def test_a_proxy_of_the_environment_is_used(plain: http.server.HTTPServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Towards a plain proxy the request line holds the whole address."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{plain.server_port}")
    assert ask("http://upstream.invalid/v1") == b"POST http://upstream.invalid/v1 HTTP/1.1\nhello"


def test_a_certificate_nobody_vouches_for_is_refused(secure: http.server.HTTPServer) -> None:
    """Recordings go to nobody who only claims to be the upstream."""
    with pytest.raises(urllib3.exceptions.SSLError):
        ask(f"https://127.0.0.1:{secure.server_port}/")


def test_a_trusted_certificate_is_accepted(
    secure: http.server.HTTPServer, authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trust is requests' own: the bundle it comes with."""
    bundle = tmp_path / "bundle.pem"
    authority.cert_pem.write_to_path(str(bundle))
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(bundle))
    assert ask(f"https://127.0.0.1:{secure.server_port}/") == b"POST / HTTP/1.1\nhello"
