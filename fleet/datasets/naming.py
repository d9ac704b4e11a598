"""What Redis keeps under the name of a fleet with a dataset, when a name changes or ends."""

import structlog
from django.conf import settings
from redis import RedisError, ResponseError

from fleet.datasets import standing
from fleet.models import Fleet
from pods.base.redis import redis_client

log = structlog.get_logger(__name__)


def begin(fleet: Fleet) -> None:
    """Remove the counts and the schema that another fleet of this name may have left.

    Raises:
        RedisError: the server does not answer.
    """
    redis_client(fleet.backlog_url or settings.REDIS_URL).delete(standing.rows_key(fleet.name))


def move(fleet: Fleet, before: str) -> None:
    """Move the counts and the schema of a fleet that had another name; else `feed` makes them anew."""
    client = redis_client(fleet.backlog_url or settings.REDIS_URL)
    try:
        client.rename(standing.rows_key(before), standing.rows_key(fleet.name))
    except ResponseError:  # it has none
        return
    except (RedisError, OSError) as exc:
        log.warning("rows_not_renamed", fleet=fleet.name, because=str(exc))
