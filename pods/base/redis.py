"""Connects to Redis with this project's defaults."""

from collections.abc import Callable
from functools import cache
from time import monotonic
from typing import Any, Final, cast

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from pods.base import redis_address

# A blocking read must be shorter than the socket timeout: redis-py 8 hangs for
# (timeout x retries) and raises otherwise.
SOCKET_TIMEOUT_SECONDS = 10.0
CONNECT_TIMEOUT_SECONDS = 3.0
LONGEST_BLOCK_MS = 3000
# A server that let a call time out is not asked for this time. Otherwise one server that drops packets
# takes a sweep's or a tick's time again and again, and with it that of all other fleets.
SILENT_SECONDS: Final = 20.0


class AskedOnce(Retry):
    """Retries what failed at once, but not what timed out: then the server is left alone for a while.

    All connections of a process to one server share it.
    """

    def __init__(self) -> None:
        backoff = ExponentialWithJitterBackoff(base=0.05, cap=1.0)
        super().__init__(backoff, 2, supported_errors=(redis.ConnectionError,))
        self._silent_until = 0.0

    def __deepcopy__(self, _memo: object) -> "AskedOnce":
        """Itself: the client copies it for each connection."""
        return self

    def call_with_retry(self, do: Callable[[], Any], *args: Any, **kwargs: Any) -> Any:
        """Do it, again if the connection broke; refuse at once while the server is left alone.

        Raises:
            ConnectionError: a call timed out less than SILENT_SECONDS ago.
        """
        left = self._silent_until - monotonic()
        if left > 0:
            raise redis.ConnectionError(
                f"the server let a call time out; it is asked again in {left:.0f} s"
            )
        try:
            return super().call_with_retry(do, *args, **kwargs)
        except (redis.TimeoutError, TimeoutError):
            self._silent_until = monotonic() + SILENT_SECONDS
            raise


@cache
def redis_client(url: str) -> "redis.Redis":
    """A client of the server at `url`, shared within the process; it takes and returns bytes.

    RESP2 and the legacy answer shapes are set here, so answers are the same on Valkey and Redis >= 7.
    No word in the address changes that.
    """
    return redis.Redis.from_url(
        redis_address.usable(url),
        protocol=2,
        legacy_responses=True,
        decode_responses=False,
        socket_timeout=SOCKET_TIMEOUT_SECONDS,
        socket_connect_timeout=CONNECT_TIMEOUT_SECONDS,
        socket_keepalive=True,
        health_check_interval=30,
        retry=AskedOnce(),
    )


def eviction_of(client: "redis.Redis") -> str:
    """What is wrong where a full server deletes keys by itself; "" if it does not, or does not say.

    An evicted fence lets a written-off pod publish again, and an evicted queue loses tasks.

    Raises:
        RedisError: the server does not answer.
    """
    try:
        policy = client.info("memory").get("maxmemory_policy", "noeviction")
    except redis.ResponseError:  # the user may not ask
        return ""
    if policy == "noeviction":
        return ""
    return (
        f"maxmemory-policy is {policy}: a full server deletes fences, items and tasks by itself; set "
        "it to noeviction"
    )


def make_consumer_group(client: "redis.Redis", stream: str, group: str) -> None:
    """Create the stream and its consumer group if they are missing; existing ones stay.

    The group begins at 0, so older entries of the stream belong to its backlog too.

    Raises:
        RedisError: the server does not answer, or refuses the stream.
    """
    try:
        client.xgroup_create(stream, group, id="0", mkstream=True)
    except redis.ResponseError as exc:
        if "BUSYGROUP" not in str(exc):
            raise


StreamEntry = tuple[bytes, dict[bytes, bytes]]


def stream_page(
    client: "redis.Redis", stream: str, *, after: str, count: int, until: str = "+"
) -> list[StreamEntry]:
    """The next entries of a stream after the id `after`, at most `count`, up to the id `until`."""
    page = client.xrange(stream, min=f"({after}", max=until, count=count)
    return cast("list[StreamEntry]", page)
