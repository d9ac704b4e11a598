"""Numbers that only grow, counted by all processes together in the manager's Redis, for /metrics.

They are for monitoring alone: no rule reads them. A process that dies, or a Redis that is away, loses
what it would have counted; one that starts empty begins at 0. Prometheus expects both of a counter.
"""

from bisect import bisect_left
from collections.abc import Mapping
from time import monotonic
from typing import Final, cast

from django.conf import settings
from redis import RedisError

from pods.base.redis import redis_client

KEY: Final = "podfleet:counters"
# Seconds: from a container that starts at once to a host that pulls 40 GB.
BUCKETS: Final = (1, 2, 5, 10, 30, 60, 120, 300, 600, 1200, 1800)
BEYOND: Final = "+Inf"
# A Redis that did not answer is not asked for so long: nothing may wait for a count.
SILENT_SECONDS: Final = 10.0
_SEPARATOR: Final = "\x1f"
_silent_until: dict[str, float] = {}  # by the address of the Redis

Field = tuple[str, ...]  # the name of the counter and the values of its labels


def count(name: str, *labels: str) -> None:
    """Add 1."""
    _add({(name, *labels): 1})


def called(account_id: int, call: str, result: str, seconds: float) -> None:
    """Add a call to a vendor, and its duration."""
    _add(
        {
            ("calls", str(account_id), call, result): 1,
            ("call_seconds", str(account_id), call): seconds,
        }
    )


def took(name: str, seconds: float, *labels: str) -> None:
    """Add one duration: to its sum, and to its bucket of BUCKETS."""
    place = bisect_left(BUCKETS, seconds)
    bucket = str(BUCKETS[place]) if place < len(BUCKETS) else BEYOND
    _add({(name, *labels, "sum"): max(seconds, 0.0), (name, *labels, bucket): 1})


def read() -> Mapping[Field, float]:
    """All counters.

    Raises:
        RedisError: the server does not answer.
    """
    found = cast("dict[bytes, bytes]", redis_client(settings.REDIS_URL).hgetall(KEY))
    return {tuple(field.decode().split(_SEPARATOR)): float(n) for field, n in found.items()}


def _add(amounts: Mapping[Field, float]) -> None:
    if monotonic() < _silent_until.get(settings.REDIS_URL, 0.0):
        return
    try:
        with redis_client(settings.REDIS_URL).pipeline(transaction=False) as pipe:
            for field, amount in amounts.items():
                pipe.hincrbyfloat(KEY, _SEPARATOR.join(field), amount)
            pipe.execute()
    except RedisError:
        _silent_until[settings.REDIS_URL] = monotonic() + SILENT_SECONDS
