"""What is wrong with the Redis servers of the fleets: a policy that lets them delete keys."""

from collections.abc import Iterable, Mapping
from time import monotonic
from typing import Final

from django.conf import settings
from redis import RedisError

from fleet.models import Backlog, Fleet
from pods.base.redis import eviction_of, redis_client

ASK_EVERY_SECONDS: Final = 60.0
# By address: when the server was last asked, and what it said then.
_said: Final[dict[str, tuple[float, str | None]]] = {}


def evictions(fleets: Iterable[Fleet]) -> Mapping[int, str | None]:
    """What is wrong with each fleet's server, by fleet; "" if nothing is, None if nobody knows yet.

    A server is asked once a minute. While it does not answer, its last answer holds.
    """
    return {fleet.pk: _eviction(_address(fleet)) for fleet in fleets}


def _address(fleet: Fleet) -> str:
    """The server with the fences of the fleet's pods, and with its backlog unless that is RabbitMQ."""
    own = "" if fleet.backlog == Backlog.CELERY_RABBITMQ else fleet.backlog_url
    return own or settings.REDIS_URL


def _eviction(address: str) -> str | None:
    asked, said = _said.get(address, (float("-inf"), None))
    if monotonic() - asked < ASK_EVERY_SECONDS:
        return said
    try:
        said = eviction_of(redis_client(address))
    except (RedisError, OSError, TypeError, ValueError):  # also of an odd address
        pass
    _said[address] = (monotonic(), said)
    return said
