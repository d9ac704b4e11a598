"""How fast an account's calls may go: one count for all workers, kept in Redis.

The libraries of the field were looked at (limits 5.8, throttled-py 3.3): they say that a call is
refused, not when its turn is, and count one limit a round trip, over connections of their own.
Here a call reserves its turn under all of its limits in one script, or learns how long to wait.
"""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta
from pathlib import Path
from typing import Final

import redis
import structlog

from pods.providers.base import Rate
from pods.providers.errors import RateLimited

ANY: Final = "*"  # the limit of all calls of an account together
# A turn that is further away is the task's to wait for, not the worker's.
LONGEST_WAIT_SECONDS: Final = 2.0
_SCRIPT: Final = (Path(__file__).parent / "reserve.lua").read_text(encoding="utf-8")
_pace: ContextVar["Callable[[str], None] | None"] = ContextVar("pace", default=None)

log = structlog.get_logger(__name__)


def pace(endpoint: str) -> None:
    """Wait for the turn of one request, where somebody counts them.

    Raises:
        RateLimited: the turn is too far away; nothing was sent.
    """
    take = _pace.get()
    if take is not None:
        take(endpoint)


@contextmanager
def paced(take: Callable[[str], None]) -> Iterator[None]:
    """Within the block, each request to a vendor first asks `take` for its turn."""
    before = _pace.set(take)
    try:
        yield
    finally:
        _pace.reset(before)


class Pacer:
    """Hands out the turns of one account to all workers, first come first served."""

    def __init__(
        self,
        client: "redis.Redis",
        account: str,
        rates: Mapping[str, Rate],
        *,
        longest_wait: float = LONGEST_WAIT_SECONDS,
        sleep: Callable[[float], None] = time.sleep,  # noqa: TID251 - bounded by longest_wait
    ) -> None:
        """`account` names the credentials that share the limits."""
        self._reserve = client.register_script(_SCRIPT)
        self._client = client
        # In braces: one slot of a Redis cluster, since a script touches all of them.
        self._prefix = f"podfleet:pace:{{{account}}}:"
        self._rates = dict(rates)
        self._longest_wait = longest_wait
        self._sleep = sleep

    def take(self, endpoint: str) -> None:
        """Wait for the turn of one request to `endpoint`.

        Without Redis nothing is limited: a destroy must go out when Redis is down.

        Raises:
            RateLimited: the turn is too far away, or the vendor asked for silence.
        """
        names = [name for name in (ANY, endpoint) if name in self._rates]
        keys = [f"{self._prefix}silence", *(self._prefix + name for name in names)]
        limits = [self._rates[name] for name in names]
        args = [_milliseconds(timedelta(seconds=self._longest_wait))]
        for rate in limits:
            args += [_milliseconds(rate.every), rate.burst]
        try:
            granted, wait_ms = self._reserve(keys=keys, args=args)
        except redis.RedisError as exc:
            log.warning("pace_unknown", endpoint=endpoint, error=type(exc).__name__)
            return
        if not granted:
            wait = wait_ms / 1000
            raise RateLimited(
                f"the turn of {endpoint or 'a call'} is {wait:.1f} s away", retry_after=wait
            )
        if wait_ms:
            self._sleep(wait_ms / 1000)

    def keep_silent(self, seconds: float) -> None:
        """The vendor refused for its rate limit: nobody calls for that long."""
        try:
            self._client.set(f"{self._prefix}silence", 1, px=max(1, int(seconds * 1000)))
        except redis.RedisError as exc:
            log.warning("pace_unknown", error=type(exc).__name__)


def _milliseconds(time_: timedelta) -> int:
    return time_ // timedelta(milliseconds=1)
