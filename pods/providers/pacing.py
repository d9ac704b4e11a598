"""How fast an account's calls may go: one count for all workers, kept in Redis.

The libraries of the field were looked at (limits 5.8, throttled-py 3.3): they say that a call is
refused, not when its turn is, and count one limit a round trip, over connections of their own.
Here a call reserves its turn under all of its limits in one script, or learns how long to wait.
"""

import time
from collections.abc import Callable, Mapping
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
# So long is a vendor's silence believed; then one call asks again.
LONGEST_SILENCE_SECONDS: Final = 3600.0
_SCRIPT: Final = (Path(__file__).parent / "reserve.lua").read_text(encoding="utf-8")

log = structlog.get_logger(__name__)


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
        """The vendor answered that the rate is too high: no worker asks for that long.

        The limit is the endpoint's own where it has one, else the account's.
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


def _milliseconds(length: timedelta) -> int:
    return length // timedelta(milliseconds=1)
