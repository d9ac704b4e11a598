"""Puts a fleet's secrets where its pods read them: into one key of Redis that only they may read."""

import hashlib
from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import DatabaseError
from redis.exceptions import NoPermissionError

from fleet.models import Fleet, IssuedKeys, Secret
from fleet.secrets import issuing
from fleet.secrets.checking import ROLE
from fleet.secrets.opening import Unreadable, opened
from pods.agent.protocol import SECRET_PREFIX, SECRETS_VERSION, Keys
from pods.agent_redis import redis_users
from pods.base.redis import redis_client
from pods.models import Pod

log = structlog.get_logger(__name__)
# The version of a fleet without secrets, which had some.
NONE: Final = "0"
# The key ends by itself after this time without a tick, so that no server keeps the secrets of a fleet
# that was archived, renamed, deleted or moved while that server did not answer.
SHORTEST_TTL: Final = timedelta(hours=1)
# KEYS: the secrets. ARGV: the version that should be there, and the ms after which the key ends.
# Returns the version that is there; it renews the key if that is the wanted one.
LOOK: Final = """#!lua flags=allow-oom
local version = redis.call('HGET', KEYS[1], 'version') or ''
if version == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return version"""
# KEYS: the secrets. ARGV: the version that must be there, the ms, then field, value, ...
# It writes nothing if another manager has written meanwhile: that one may know more. Returns 1 or 0.
WRITE: Final = """#!lua flags=allow-oom
if (redis.call('HGET', KEYS[1], 'version') or '') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
for n = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], ARGV[n], ARGV[n + 1]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 1"""


class NotWritten(Exception):
    """A server of the fleet's pods did not take the secrets: it does not answer, or refuses."""


def version_of(rows: Iterable[Secret], issued: IssuedKeys | None = None) -> str:
    """A name for this set of secrets. It says nothing about their values."""
    each = sorted(f"{row.name}={row.revision.hex}" for row in rows)
    if issued is not None:
        each.append(f"issued={issued.revision.hex}")
    return hashlib.sha256("\n".join(each).encode()).hexdigest()[:16] if each else NONE


def keep(fleet: Fleet, pods: Iterable[Pod] | None = None) -> None:
    """Write the fleet's secrets to each server of its pods, unless they are there already.

    Each tick calls it, so it also mends what was lost: a write that a crash or a dead server
    prevented, and the data of a server. One query, and one round trip for each server. `pods`: those
    of the fleet, where they were read before.

    Raises:
        NotWritten: a server did not take them; the others have them.
        Unreadable: a secret cannot be decrypted; nothing was written.
    """
    failed: Exception | None = None
    used = _pods(fleet).values_list("redis_url", flat=True).distinct()
    for url in servers(fleet, used if pods is None else (pod.redis_url for pod in pods)):
        try:
            _ = _keep(fleet, url) or _keep(fleet, url)
        except (Unreadable, DatabaseError):
            raise
        except Exception as exc:  # noqa: BLE001 - a wrong address raises anything; it stops no other
            failed = exc
    if failed is not None:
        raise NotWritten(str(failed)) from failed


def keep_if_possible(fleet: Fleet, pods: Iterable[Pod] | None = None) -> None:
    """The same for a tick, and where keys were issued, which go on without."""
    try:
        keep(fleet, pods)
    except (NotWritten, Unreadable) as exc:
        log.warning("secrets_not_written", fleet=fleet.name, because=str(exc))


def _keep(fleet: Fleet, url: str) -> bool:
    """Write the secrets to one server; False if another manager wrote others meanwhile."""
    client, key = redis_client(url), Keys(fleet.name).secrets
    ttl_ms = int(max(SHORTEST_TTL.total_seconds(), 2 * fleet.orphan_seconds) * 1000)
    # The server is asked before the rows that are written are read: see WRITE.
    rows = list(fleet.secrets.only("name", "revision"))
    wanted = version_of(rows, _issued(fleet, rows))
    try:
        there = _text(client.eval(LOOK, 1, key, wanted, ttl_ms))
    except NoPermissionError:
        if wanted == NONE:  # this server's user may only read the backlog
            return True
        raise
    if there == wanted or (wanted == NONE and not there):
        return True
    rows = list(fleet.secrets.select_related("fleet").order_by("name"))
    issued = _issued(fleet, rows)
    values = _values(rows, issued)
    words: list[Any] = [SECRETS_VERSION, version_of(rows, issued)]
    for name, value in values.items():
        words += [f"{SECRET_PREFIX}{name}", value]
    # users from before an upgrade have no right to read them
    redis_users.renew(_pods(fleet).filter(redis_url__in={url, ""} if _is_own(url) else {url}))
    if not client.eval(WRITE, 1, key, there, ttl_ms, *words):
        return False
    log.info("secrets_written", fleet=fleet.name, names=[*values])
    return True


def for_pods(fleet: Fleet) -> dict[str, str]:
    """The secrets that the fleet's pods get, by their names.

    Raises:
        Unreadable: one cannot be decrypted.
    """
    rows = list(fleet.secrets.select_related("fleet").order_by("name"))
    return _values(rows, _issued(fleet, rows))


def _values(rows: Iterable[Secret], issued: IssuedKeys | None) -> dict[str, str]:
    if issued is None:
        return {row.name: opened(row) for row in rows}
    values = {row.name: opened(row) for row in rows if row.name not in issuing.KEPT_HERE}
    return {**values, **issuing.for_pods(issued)}


def _issued(fleet: Fleet, rows: Iterable[Secret]) -> IssuedKeys | None:
    """The short-lived keys of a fleet that has a role; None: its pods get its own keys.

    The secret alone decides. A fleet with a role and without issued keys gives its pods none.
    """
    if not any(row.name == ROLE for row in rows):
        return None
    return IssuedKeys.objects.filter(fleet=fleet).first() or IssuedKeys(fleet=fleet)


def forget(fleet: Fleet, name: str) -> None:
    """Remove the secrets of a fleet from Redis; `name`: which it had, if it has another one now.

    On a server that does not answer they end by themselves.
    """
    used = Pod.objects.filter(fleet=fleet).values_list("redis_url", flat=True).distinct()
    for url in servers(fleet, used):
        try:
            redis_client(url).delete(Keys(name).secrets)
        except Exception as exc:  # noqa: BLE001 - a wrong address raises anything; it keeps no fleet
            log.warning("secrets_not_removed", fleet=name, because=str(exc))


def _pods(fleet: Fleet) -> Any:
    return Pod.objects.filter(fleet=fleet, state__in=redis_users.USED_BY)


def servers(fleet: Fleet, used: Iterable[str]) -> list[str]:
    """Where the fleet's pods are: its present backlog's server, and those of pods from before a move."""
    own = fleet.backlog_url if fleet.on_stream else ""
    return sorted({url or settings.REDIS_URL for url in {own, *used}})


def _is_own(url: str) -> bool:
    return url == settings.REDIS_URL


def _text(answer: Any) -> str:
    return answer.decode("utf-8", "replace") if isinstance(answer, bytes) else str(answer)
