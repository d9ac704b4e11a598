"""Counts requests by minute, in Redis; in this process alone while Redis does not answer."""

import time
from dataclasses import dataclass
from typing import Any, Final, cast

from django.conf import settings
from redis import RedisError

from pods.base.redis import redis_client

WINDOW_SECONDS: Final = 60
PREFIX: Final = "podfleet:_api:rate:"  # no fleet can have this name
# KEYS: the counter. ARGV: the seconds after which it starts again.
COUNT: Final = """
local count = redis.call('INCR', KEYS[1])
if count == 1 then redis.call('EXPIRE', KEYS[1], ARGV[1]) end
return {count, redis.call('TTL', KEYS[1])}
"""
MOST_HERE: Final = 10_000
_here: dict[str, tuple[float, int]] = {}  # until when, and how many


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """How often something happened in the present window."""

    count: int
    seconds_left: int


def count(what: str, who: str) -> Counted:
    """Count one more; the window of a minute begins with the first."""
    key = f"{PREFIX}{what}:{who}"
    try:
        client = redis_client(settings.REDIS_URL)
        found = cast("list[Any]", client.eval(COUNT, 1, key, str(WINDOW_SECONDS)))
    except RedisError:
        return _count_here(key, time.monotonic())
    return Counted(count=int(found[0]), seconds_left=max(1, int(found[1])))


def _count_here(key: str, now: float) -> Counted:
    until, before = _here.get(key, (0.0, 0))
    if until <= now:
        until, before = now + WINDOW_SECONDS, 0
        if len(_here) >= MOST_HERE:
            _here.clear()
    _here[key] = (until, before + 1)
    return Counted(count=before + 1, seconds_left=max(1, int(until - now)))
