"""How often an account may call its vendor: one count for all workers, kept in Redis.

Two libraries were looked at (limits 5.8, throttled-py 3.3). They refuse a call, but do not say when
its turn is. They need a round trip for each limit, and open connections of their own. Here one
script reserves the turn of a call under all of its limits, or says how long to wait.
"""

import time
from collections.abc import Callable, Mapping
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Final

import redis
import structlog

from pods.providers.base import Rate
from pods.providers.errors import RateLimited

ANY: Final = "*"  # the limit of all calls of an account together
# A worker waits this long for a turn. For a later turn the task comes back.
LONGEST_WAIT_SECONDS: Final = 2.0
# A vendor's silence counts for this long at most. Then one call asks again.
LONGEST_SILENCE_SECONDS: Final = 3600.0

log = structlog.get_logger(__name__)


class Pacer:
    """Hands out the turns of one account to all workers, in the order in which they ask."""

    def __init__(
        self,
        client: "redis.Redis",
        account: str,
        rates: Mapping[str, Rate],
        *,
        longest_wait: float = LONGEST_WAIT_SECONDS,
        sleep: Callable[[float], None] = time.sleep,  # noqa: TID251 - bounded by longest_wait
    ) -> None:
        """`account` names the credentials whose calls share the limits."""
        self._reserve = client.register_script(_script())
        self._client = client
        # The braces put all keys into one slot of a Redis cluster, because one script uses them all.
        self._prefix = f"podfleet:pace:{{{account}}}:"
        self._rates = dict(rates)
        self._longest_wait = longest_wait
        self._sleep = sleep

    def take(self, endpoint: str) -> None:
        """Wait for the turn of one request to `endpoint`.

        Without Redis nothing is limited, so that a destroy is sent when Redis is down.

        Raises:
            RateLimited: the turn is too far away, or the vendor asked for silence.
        """
        keys: list[str] = []
        limits = [int(self._longest_wait * 1000)]
        for name in dict.fromkeys((ANY, endpoint)):
            keys += [f"{self._prefix}silence:{name}", f"{self._prefix}due:{name}"]
            rate = self._rates.get(name)
            limits += [0, 0] if rate is None else [_milliseconds(rate.every), rate.burst]
        try:
            granted, wait_ms = self._reserve(keys=keys, args=limits)
        except redis.RedisError as exc:
            log.warning("pace_unknown", endpoint=endpoint, error=type(exc).__name__)
            return
        wait = wait_ms / 1000
        if not granted:
            because = f"the next turn of {endpoint or 'a call'} is {wait:.1f} s away"
            raise RateLimited(because, retry_after=wait)
        if wait:
            self._sleep(wait)

    def silence(self, endpoint: str, seconds: float) -> None:
        """Let no worker call for `seconds`, because the vendor said that the rate is too high.

        This holds for the endpoint where it has a limit of its own, else for the whole account.
        """
        name = endpoint if endpoint in self._rates else ANY
        lasts = int(min(seconds, LONGEST_SILENCE_SECONDS) * 1000)
        try:
            self._client.set(f"{self._prefix}silence:{name}", 1, px=max(1, lasts))
        except redis.RedisError as exc:
            log.warning("pace_unknown", endpoint=endpoint, error=type(exc).__name__)


# Makes the pacer of an account, given the rates that its adapter names; None: nobody counts.
MakePacer = Callable[[Mapping[str, Rate]], Pacer | None]


def unpaced(_rates: Mapping[str, Rate]) -> None:
    """No pacer: the calls of this account are not counted."""


@cache
def _script() -> str:
    return (Path(__file__).parent / "reserve.lua").read_text(encoding="utf-8")


def _milliseconds(length: timedelta) -> int:
    return length // timedelta(milliseconds=1)
