"""Forgets how large a call may be for a fleet's GPUs, which its pods share in Redis."""

import structlog

from fleet.models import Fleet
from fleet.secrets.channel import servers
from pods.agent.protocol import Keys
from pods.base.redis import redis_client
from pods.models import Pod

log = structlog.get_logger(__name__)


def forget(fleet: Fleet, name: str) -> None:
    """Remove what the pods of a fleet found; `name`: which it had, if it has another one now.

    On a server that does not answer the key ends by itself within a week.
    """
    used = Pod.objects.filter(fleet=fleet).values_list("redis_url", flat=True).distinct()
    for url in servers(fleet, used):
        try:
            redis_client(url).delete(Keys(name).fits)
        except Exception as exc:  # noqa: BLE001 - a wrong address raises anything; it keeps no fleet
            log.warning("fits_not_removed", fleet=name, because=str(exc))
