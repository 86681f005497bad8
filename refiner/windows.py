"""All sliding windows of one client, moved in Redis in one trip."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from limits import RateLimitItem, WindowStats
from limits.storage import RedisStorage
from limits.strategies import MovingWindowRateLimiter

# One sorted list of arrival times a window, newest first. Redis' own clock counts, so that instances whose clocks
# differ agree. Nothing is entered anywhere unless there is room everywhere: a refused request costs no allowance.
# KEYS: one a window. ARGV: limit and length in seconds, for each. Returns the first window without room (0 if none),
# then entries and oldest entry of each.
_SCRIPT = b"""
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local full = 0
for i, key in ipairs(KEYS) do
    local oldest = redis.call('LINDEX', key, -1)
    while oldest and tonumber(oldest) <= now - tonumber(ARGV[2 * i]) do
        redis.call('RPOP', key)
        oldest = redis.call('LINDEX', key, -1)
    end
    if full == 0 and redis.call('LLEN', key) >= tonumber(ARGV[2 * i - 1]) then full = i end
end
local answer = {full}
for i, key in ipairs(KEYS) do
    if full == 0 then
        redis.call('LPUSH', key, string.format('%.6f', now))
        redis.call('EXPIRE', key, ARGV[2 * i])
    end
    table.insert(answer, redis.call('LLEN', key))
    table.insert(answer, redis.call('LINDEX', key, -1) or string.format('%.6f', now))
end
return answer
"""


@dataclass(frozen=True)
class _Trip:
    """What one trip to Redis found: the window without room, if any, and how full each is since when."""

    identifiers: tuple[str, ...]
    full: RateLimitItem | None
    stats: dict[RateLimitItem, tuple[int, float]]


class _LastTrip(threading.local):
    trip: _Trip | None = None


class RedisWindows(MovingWindowRateLimiter):
    """Windows that slide, for a fixed list of limits that a client is always held to together.

    Flask-Limiter asks for each limit in turn, shortest first, then for what remains; all of it is answered from the
    trip made for the first, in the same thread.
    """

    def __init__(self, storage: RedisStorage, items: Sequence[RateLimitItem]) -> None:
        super().__init__(storage)
        self._storage = storage
        self._items = sorted(items)
        self._script = storage.get_connection().register_script(_SCRIPT)
        self._last = _LastTrip()

    def hit(self, item: RateLimitItem, *identifiers: str, cost: int = 1) -> bool:
        """Enter a request in every window, or in none; raises what the Redis client raises."""
        if item == self._items[0] or self._last.trip is None or self._last.trip.identifiers != identifiers:
            self._last.trip = self._travel(identifiers)
        return self._last.trip.full != item

    def get_window_stats(self, item: RateLimitItem, *identifiers: str) -> WindowStats:
        """Return when the window's oldest entry leaves it, in Unix seconds, and how many more have room."""
        trip = self._last.trip
        if trip is None or trip.identifiers != identifiers:
            return super().get_window_stats(item, *identifiers)
        entries, oldest = trip.stats[item]
        return WindowStats(oldest + item.get_expiry(), max(0, item.amount - entries))

    def _travel(self, identifiers: tuple[str, ...]) -> _Trip:
        keys = [self._storage.prefixed_key(item.key_for(*identifiers)) for item in self._items]
        sizes = [size for item in self._items for size in (item.amount, item.get_expiry())]
        full, *found = self._script(keys, sizes)
        pairs = zip(map(int, found[::2]), map(float, found[1::2]), strict=True)
        stats = dict(zip(self._items, pairs, strict=True))
        return _Trip(identifiers, self._items[full - 1] if full else None, stats)
