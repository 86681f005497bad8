"""Who counts as one client, how often it may ask, and how many uploads are worked on at once."""

import ipaddress
import math
import threading
import time
from collections.abc import Sequence
from typing import Any

from flask import Flask, Request, Response, g
from flask_limiter import Limiter, RateLimitExceeded
from limits import RateLimitItem, parse_many
from limits.storage import RedisStorage
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.retry import Retry

from refiner.arrivals import Arrivals
from refiner.errors import RateLimited
from refiner.settings import Settings
from refiner.windows import RedisWindows

_REDIS_TIMEOUT_S = 0.4
_IPV6_CLIENT_BITS = 64
_HANDOVER_S = 1.0


class SteadyLimiter(Limiter):
    """A limiter that keeps answering in every thread while its Redis fails.

    Flask-Limiter falls back to memory in the first thread that notices and lets the others fail; asking once more
    finds the fallback in place. With Redis, all windows are moved in one trip.
    """

    def __init__(self, *, items: Sequence[RateLimitItem], **options: Any) -> None:
        super().__init__(**options)
        if isinstance(self._storage, RedisStorage):
            self._limiter = RedisWindows(self._storage, items)

    def _check_request_limit(self, callable_name: str | None = None, in_middleware: bool = True) -> None:
        if in_middleware:
            return  # only views that ask for it are limited; no other path may wait for Redis
        try:
            super()._check_request_limit(callable_name, in_middleware)
        except RateLimitExceeded:
            raise
        except Exception:  # whatever the storage's client raises
            super()._check_request_limit(callable_name, in_middleware)


def build_limiter(app: Flask, settings: Settings) -> Limiter:
    """Make the limiter: a window that slides, counted in Redis where there is one, else in this process.

    Who the client is must be in `g.client` by the time a view is called. While Redis refuses or hangs, counting goes on
    in memory; the shared count is taken up again when it is back.
    """
    # One new connection replaces one that Redis dropped; redis-py's own default waits seconds between four tries.
    retry = Retry(NoBackoff(), 1, supported_errors=(RedisConnectionError,))
    timeouts = {"socket_connect_timeout": _REDIS_TIMEOUT_S, "socket_timeout": _REDIS_TIMEOUT_S, "retry": retry}
    return SteadyLimiter(
        items=parse_many(settings.rate_limit),
        app=app,
        key_func=lambda: str(g.client),
        strategy="moving-window",
        storage_uri=settings.redis_uri or "memory://",
        storage_options=timeouts if settings.redis_uri else {},
        in_memory_fallback_enabled=bool(settings.redis_uri),
        key_prefix="politeness",
    )


def client_address(request: Request, settings: Settings) -> str:
    """Return what identifies one client: an IPv4 address or an IPv6 /64, never one the client could make up.

    A trusted header that does not hold one valid address falls back to the peer's own.
    """
    claimed = _claimed_address(request, settings)
    return _as_client(claimed) or _as_client(request.remote_addr) or "unknown"


def _claimed_address(request: Request, settings: Settings) -> str | None:
    if settings.client_ip_header:
        return request.headers.get(settings.client_ip_header)
    if settings.proxy_hops:
        entries = ",".join(request.headers.getlist("X-Forwarded-For")).split(",")
        return entries[-settings.proxy_hops] if len(entries) >= settings.proxy_hops else None
    return None


def _as_client(address: str | None) -> str | None:
    try:
        ip = ipaddress.ip_address((address or "").strip())
    except ValueError:
        return None
    if isinstance(ip, ipaddress.IPv4Address):
        return str(ip)
    if ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ipaddress.ip_network((ip.packed, _IPV6_CLIENT_BITS), strict=False))


def add_limit_headers(response: Response, limiter: Limiter) -> None:
    """Tell the client where it stands: X-RateLimit-Limit, -Remaining and -Reset (Unix seconds)."""
    limit = limiter.current_limit
    if limit is None:
        return
    try:
        remaining, reset_at = limit.remaining, limit.reset_at
    except Exception:  # the count is a courtesy; a storage that fails here must not spoil the answer
        return
    response.headers["X-RateLimit-Limit"] = str(limit.limit.amount)
    response.headers["X-RateLimit-Remaining"] = str(remaining)
    response.headers["X-RateLimit-Reset"] = str(math.ceil(reset_at))


def rate_limited(limiter: Limiter) -> RateLimited:
    """Say which limit was reached and how long to wait."""
    limit = limiter.current_limit
    if limit is None:
        return RateLimited("Too many requests. Please wait a minute and try again.", retry_after_s=60)
    try:
        wait_s = min(max(1, math.ceil(limit.reset_at - time.time())), limit.limit.get_expiry())
    except Exception:  # as above
        wait_s = limit.limit.get_expiry()
    return RateLimited(
        f"Too many requests: {limit.limit} are allowed. Please try again in {wait_s} s.", retry_after_s=wait_s
    )


class Admission:
    """Take in so many uploads at once and no more; the rest are told so immediately."""

    def __init__(self, places: int, arrivals: Arrivals) -> None:
        self._places = threading.BoundedSemaphore(places)
        self._arrivals = arrivals

    def enter(self) -> bool:
        """Take a place if there is one, or one that a body takes up which hardly arrives.

        Whoever got a place must `leave` exactly once.
        """
        if self._places.acquire(blocking=False):
            return True
        return self._arrivals.cut_slowest() and self._places.acquire(timeout=_HANDOVER_S)

    def leave(self) -> None:
        """Give the place back."""
        self._places.release()
