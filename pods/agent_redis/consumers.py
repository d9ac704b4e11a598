"""Removes the consumers of ended pods from the groups that they read with."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final, cast

import redis
from django.conf import settings
from django.db.models import Q
from redis import RedisError

from pods.base.clock import utcnow
from pods.base.redis import redis_client
from pods.machine_names import has_tag
from pods.models import Installation, Pod
from pods.states import BILLABLE

MAY_RUN: Final = sorted(state.value for state in BILLABLE)
# A group is swept while a pod reads with it, and for this time after its last pod's end.
LOOKED_AT: Final = timedelta(hours=1)
AT_ONCE: Final = 500
# Deleting a consumer that holds items would lose them, so the script checks and deletes in one step.
# KEYS: stream. ARGV: group, consumers. It returns how many it deleted.
REMOVE: Final = """
local gone = 0
for i = 2, #ARGV do
  if not redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[i])[1] then
    redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[i])
    gone = gone + 1
  end
end
return gone
"""


def remove(client: "redis.Redis", stream: str, group: str, names: Sequence[str]) -> int:
    """Remove these consumers except those that hold items; return how many.

    Raises:
        RedisError: the server does not answer, or there is no such group.
    """
    return cast("int", client.eval(REMOVE, 1, stream, group, *names))


def sweep() -> int:
    """Remove ended pods' consumers whose items others have claimed; return how many.

    A server that does not answer or a missing group is skipped: the next call tries again.
    """
    gone = 0
    read_with = Pod.objects.filter(
        Q(state__in=MAY_RUN) | Q(ended_at__gte=utcnow() - LOOKED_AT)
    ).values_list("redis_url", "agent__stream", "agent__group")
    for url, stream, group in read_with.distinct():
        try:
            gone += _sweep_group(redis_client(url or settings.REDIS_URL), stream, group)
        except (RedisError, OSError, TypeError, ValueError):  # also of an odd address
            continue
    return gone


def _sweep_group(client: "redis.Redis", stream: str, group: str) -> int:
    tag = Installation.tag()
    found = client.xinfo_consumers(stream, group)
    names = [c["name"].decode("utf-8", "replace") for c in found if not c["pending"]]
    ours = {name for name in names if has_tag(name, tag)}
    rows = Pod.objects.filter(name__in=ours, state__in=MAY_RUN)
    ended = sorted(ours - set(rows.values_list("name", flat=True)))[:AT_ONCE]
    return remove(client, stream, group, ended) if ended else 0
