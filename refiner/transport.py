"""Connections to one server: pooled, without surprises from the environment, and interruptible while they wait."""

import contextlib
import socket
from collections.abc import Iterator, Mapping
from contextvars import ContextVar
from typing import Any

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

CONNECT_TIMEOUT_S = 5.0


class Call:
    """One exchange with a server; `interrupt` ends its wait for the answer from any thread."""

    def __init__(self) -> None:
        self._sock: socket.socket | None = None
        self._interrupted = False

    def wait_on(self, sock: socket.socket | None) -> None:
        """Note where the answer will come from."""
        self._sock = sock
        if self._interrupted:
            self.interrupt()

    def interrupt(self) -> None:
        """Shut the socket down; whoever reads it sees the connection end."""
        self._interrupted = True
        if self._sock is not None:
            with contextlib.suppress(OSError):
                # The plain method: ssl's own would take the TLS state from under the thread that reads.
                socket.socket.shutdown(self._sock, socket.SHUT_RDWR)


_current_call: ContextVar[Call | None] = ContextVar("_current_call", default=None)


class _Interruptible:
    """Mixed into a connection, tells the current call on which socket it waits."""

    sock: socket.socket | None

    def getresponse(self) -> urllib3.HTTPResponse:
        if call := _current_call.get():
            call.wait_on(self.sock)
        return super().getresponse()  # type: ignore[misc,no-any-return]  # the connection it is mixed into has it


class _Connection(_Interruptible, HTTPConnection):  # type: ignore[misc]  # adds to getresponse, changes nothing
    pass


class _SecureConnection(_Interruptible, HTTPSConnection):  # type: ignore[misc]  # as above
    pass


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


class _Adapter(HTTPAdapter):
    """An adapter whose connections say on which socket they wait, so that the wait can be interrupted."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _Pool, "https": _SecurePool}

    def pool_for(self, base_url: str) -> Any:
        """Make the pool for one server as `send` would, without sending anything."""
        request = requests.Request("POST", base_url).prepare()
        pool = self.get_connection_with_tls_context(
            request, verify=True, proxies=requests.utils.get_environ_proxies(base_url)
        )
        self.cert_verify(pool, request.url, verify=True, cert=None)  # type: ignore[no-untyped-call]
        return pool


class Transport:
    """Send requests to one server over at most `connections` connections that are kept open.

    Requests decides once how the server is reached (proxies from the environment, TLS, trusted certificates); the
    calls then go straight to its pool. What requests adds to each call (cookies, redirects, netrc, hooks) is not wanted
    here and costs more than the call. No connection is opened before the first call, so a transport made before a fork
    is safe to use after it.
    """

    def __init__(self, base_url: str, *, connections: int) -> None:
        adapter = _Adapter(pool_connections=1, pool_maxsize=connections)
        self._pool = adapter.pool_for(base_url)

    @contextlib.contextmanager
    def post(
        self, url: str, *, headers: Mapping[str, str], body: bytes, timeout_s: float, call: Call
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        """Send one POST and hand out the response, its body unread; raises urllib3's exceptions and OSError."""
        token = _current_call.set(call)
        timeout = urllib3.Timeout(connect=min(CONNECT_TIMEOUT_S, timeout_s), read=timeout_s)
        try:
            response = self._pool.urlopen(
                "POST", self._target(url), body=body, headers=headers, timeout=timeout, retries=False,
                redirect=False, preload_content=False, assert_same_host=False,
            )  # fmt: skip
        finally:
            _current_call.reset(token)
        with contextlib.closing(response):
            yield response

    def _target(self, url: str) -> str:
        """Return what the request line says: the whole URL towards a plain proxy, else its path and query."""
        return url if self._pool.proxy and self._pool.scheme == "http" else urllib3.util.parse_url(url).request_uri
