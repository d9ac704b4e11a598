"""Puts a fleet's code and the agent's wheel where its pods fetch them: keys that only they may read."""

import json
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Any, Final

import redis
import structlog

from fleet.code.wheel import agent_wheel
from fleet.models import Fleet
from fleet.secrets.channel import servers
from pods.agent.protocol import Keys
from pods.agent_redis import redis_users
from pods.base.redis import redis_client
from pods.models import Pod

log = structlog.get_logger(__name__)
# The keys end by themselves after this time without a tick: see fleet/secrets/channel.py.
SHORTEST_TTL: Final = timedelta(hours=1)
AGENT: Final = "agent"


class NotPublished(Exception):
    """A server of the fleet's pods did not take the code: it does not answer, or refuses."""


def keep(fleet: Fleet, pods: Iterable[Pod] | None = None) -> list[str]:
    """Write the fleet's code to each server of its pods, unless it is there; the digests it wrote.

    Each tick calls it, so it also mends what a crash or a dead server prevented, and what a server
    lost. One round trip for each server where nothing is missing. `pods`: those of the fleet, where
    they were read before. A pod keeps the code that it was made with, because it may start again.

    Raises:
        NotPublished: a server did not take it; the others have it.
    """
    if not fleet.code_number:
        return []
    rows = list(_pods(fleet) if pods is None else pods)
    digests = sorted({fleet.bundle, *(p.agent.get("bundle", "") for p in rows)} - {""})
    ttl_ms = int(max(SHORTEST_TTL.total_seconds(), 2 * fleet.orphan_seconds) * 1000)
    failed: Exception | None = None
    written: list[str] = []
    for url in servers(fleet, (pod.redis_url for pod in rows)):
        try:
            written += _keep(redis_client(url), fleet, digests, ttl_ms)
        except Exception as exc:  # noqa: BLE001 - a wrong address raises anything; it stops no other
            failed = exc
    if failed is not None:
        raise NotPublished(str(failed)) from failed
    return written


def keep_if_possible(fleet: Fleet, pods: Iterable[Pod]) -> None:
    """The same for a tick, which goes on without. It logs; a command says itself what it did."""
    try:
        for digest in keep(fleet, pods):
            log.info("code_published", fleet=fleet.name, digest=digest[:12])
    except NotPublished as exc:
        log.warning("code_not_published", fleet=fleet.name, because=str(exc))


def _keep(client: "redis.Redis", fleet: Fleet, digests: Sequence[str], ttl_ms: int) -> list[str]:
    """Write what one server lacks; the digests of code that were written.

    A machine waits for a value whose name is there before it.
    """
    wheel, prefix = agent_wheel(), Keys(fleet.name).code
    named = json.dumps([wheel.name, wheel.digest])
    pipe = client.pipeline(transaction=False)
    for digest in (wheel.digest, *digests):
        pipe.pexpire(f"{prefix}{digest}", ttl_ms)
    pipe.set(f"{prefix}{AGENT}", named, px=ttl_ms, get=True)
    has_wheel, *there, _ = pipe.execute()
    if not has_wheel:
        client.set(f"{prefix}{wheel.digest}", wheel.body, px=ttl_ms)
    written = []
    for digest in (d for d, has in zip(digests, there, strict=True) if not has):
        body = archive_of(fleet, digest)
        if body is not None:
            client.set(f"{prefix}{digest}", body, px=ttl_ms)
            written.append(digest)
    return written


def archive_of(fleet: Fleet, digest: str) -> bytes | None:
    """The archive with this digest; None: the fleet never had it."""
    found: Any = fleet.codes.filter(digest=digest).values_list("archive", flat=True).first()
    return None if found is None else bytes(found)


def forget(fleet: Fleet, name: str) -> None:
    """Remove a fleet's code from Redis; `name`: which it had, if it has another one now.

    On a server that does not answer it ends by itself.
    """
    if not fleet.code_number:
        return
    digests = [*fleet.codes.values_list("digest", flat=True), agent_wheel().digest, AGENT]
    used = Pod.objects.filter(fleet=fleet).values_list("redis_url", flat=True).distinct()
    for url in servers(fleet, used):
        try:
            redis_client(url).delete(*(f"{Keys(name).code}{digest}" for digest in digests))
        except Exception as exc:  # noqa: BLE001 - a wrong address raises anything; it keeps no fleet
            log.warning("code_not_removed", fleet=name, because=str(exc))


def _pods(fleet: Fleet) -> Any:
    return Pod.objects.filter(fleet=fleet, state__in=redis_users.USED_BY)
