"""The Redis users of pods, with rights on their fleet's keys only, from spawn to write-off."""

import hashlib
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import groupby
from typing import Any, Final, cast
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import redis
import structlog
from django.conf import settings
from redis import RedisError, ResponseError

from pods.accounts import connecting
from pods.agent.protocol import DATASET, AgentSettings, Keys
from pods.base import key_names, redis_address
from pods.base.key_names import RefusedName
from pods.base.redis import eviction_of, redis_client
from pods.machine_names import has_tag
from pods.models import Installation, Pod
from pods.states import BILLABLE, REQUESTED, TERMINATING

log = structlog.get_logger(__name__)
_passwords: Final = connecting.redis_passwords

# States in which a machine may run, or run again, an agent that was not written off.
USED_BY: Final = sorted(s.value for s in BILLABLE - {REQUESTED, TERMINATING})
AT_ONCE: Final = 500
# docs/reference/redis-user.md explains them. The server demands read and write rights on every key
# of a script. So commands that could do harm (expire a fence) are allowed on single keys only.
ANYWHERE: Final = ("evalsha", "script|load", "ping", "select", "time")
# Redis 7.0 does not know this command. It only tells the server a client's name.
SINCE_7_2: Final = ("client|setinfo",)
ON_GIVEN_KEYS: Final = ("get", "exists")
ON_HEARTBEAT: Final = ("hset", "pexpire")
ON_STREAM: Final = (
    *("xack", "xread", "xreadgroup", "xrange", "xpending", "xclaim", "xautoclaim"),
    *("xinfo|stream", "xinfo|groups", "xgroup|delconsumer", "type"),
)
ON_TARGETS: Final = ("xadd", "type")
ON_MARKS: Final = ("set",)
# An agent of a dataset puts the rest of a range back, and sees which receipt counts if it is late.
ON_STREAM_OF_RANGES: Final = ("xadd",)
ON_RECEIPTS: Final = ("xrevrange",)
ON_ROWS: Final = ("hincrby", "hsetnx", "hget", "type")
# Script fits.lua; a server deletes the key of a pod that fills it with nonsense.
ON_FITS: Final = ("hget", "hset", "hlen", "pexpire", "del")
# A script that is given a key needs both rights on it, so no other selector has a command on this one.
ON_SECRETS: Final = ("hget", "hgetall")
# The machine of a fleet with code of its own fetches it in pieces.
ON_CODE: Final = ("get", "getrange", "strlen")


class Refused(Exception):
    """The server lets the manager make no users; the message says what would be right."""


def pod_address(pod: Pod, *, elsewhere: bool = False) -> str:
    """Make the pod's own user, and return the address for its agent.

    `elsewhere`: the pod is not on the manager's host, so it may need another way to the same server.
    A pod gets the manager's own address only where PODFLEET_REDIS_USERS=0 asks for that.

    Raises:
        Refused: the server lets the manager make no users.
        RefusedName: a stream of the pod has a name that is not allowed.
        RedisError: the server does not answer.
    """
    url = redis_address.usable(connecting.redis_url(pod))
    way = redis_address.usable(connecting.redis_url_for_pods(pod.redis_url)) if elsewhere else url
    if not settings.REDIS_USERS:
        login, at, _ = urlsplit(url).netloc.rpartition("@")
        user, _, password = login.partition(":")
        return _with_user(way, user, password) if at else way
    client = redis_client(url)
    if wrong := eviction_of(client):
        log.warning("redis_may_delete_fences", pod=pod.pk, because=wrong)
    _make(client, [pod])
    return _with_user(way, pod.name, _passwords(pod)[0])


def delete(pod: Pod) -> None:
    """Delete the pod's user; the server ends its connections.

    Raises:
        RedisError: the server does not answer.
    """
    if settings.REDIS_USERS:
        _acl(redis_client(connecting.redis_url(pod)), "DELUSER", pod.name)


def renew(pods: Iterable[Pod]) -> None:
    """Give the users of these pods the rules of this version. Their connections stay.

    Raises:
        RedisError: a server does not answer.
    """
    if not settings.REDIS_USERS:
        return
    rows = sorted((pod for pod in pods if _has_allowed_names(pod)), key=connecting.redis_url)
    for url, group in groupby(rows, key=connecting.redis_url):
        with suppress(Refused):  # no user was made for them
            _make(redis_client(url), list(group))


def keep() -> None:
    """Create users again that a server lost in a restart, and delete those of ended pods.

    A server that does not answer or refuses is skipped: the next call tries again.
    """
    if not settings.REDIS_USERS:
        return
    used = Pod.objects.filter(state__in=USED_BY).order_by("redis_url")
    servers: dict[str, set[str]] = {settings.REDIS_URL: set()}
    for address, rows in groupby(used.values_list("redis_url", "name"), key=lambda row: row[0]):
        servers.setdefault(address or settings.REDIS_URL, set()).update(name for _, name in rows)
    for url, names in servers.items():
        try:
            _keep(redis_client(url), names)
        except (Refused, RedisError, OSError, TypeError, ValueError):  # also of an odd address
            continue


def _keep(client: "redis.Redis", wanted: set[str]) -> None:
    answer = _acl(client, "USERS")
    if answer is None:
        raise Refused("ACL USERS")
    known = {name.decode("utf-8", "replace") for name in cast("list[bytes]", answer)}
    missing, tag = sorted(wanted - known), Installation.tag()
    for n in range(0, len(missing), AT_ONCE):
        rows = Pod.objects.filter(name__in=missing[n : n + AT_ONCE], state__in=USED_BY)
        _make(client, [pod for pod in rows if _has_allowed_names(pod)])
    strays = sorted(name for name in known - wanted if has_tag(name, tag))[:AT_ONCE]
    # A pod may have been created since the names were read.
    strays = sorted(set(strays) - _in_use(strays))
    if strays:
        _acl(client, "DELUSER", *strays)


def _has_allowed_names(pod: Pod) -> bool:
    """False for a pod that an older version made, on streams whose names are now refused."""
    try:
        rules(pod)
    except RefusedName as exc:
        log.warning("pod_gets_no_redis_user", pod=pod.pk, because=str(exc))
        return False
    return True


def _in_use(names: Iterable[str]) -> set[str]:
    rows = Pod.objects.filter(name__in=names, state__in=USED_BY)
    return set(rows.values_list("name", flat=True))


def _make(client: "redis.Redis", pods: list[Pod]) -> None:
    """Create the users of these pods, except those that are fenced.

    A fence is set before the user is deleted, and checked after a user is created. So a fenced pod
    ends without a user, in whatever order two workers act.
    """
    answers = _set_users(client, pods, also=SINCE_7_2)
    if any(isinstance(answer, ResponseError) for answer in answers):
        answers = _set_users(client, pods)
    for answer in answers:
        if isinstance(answer, ResponseError):
            raise Refused(
                f"Redis makes no user for the pod ({answer}); give the manager's user +acl, or set "
                "PODFLEET_REDIS_USERS=0: pods then get the manager's own credentials"
            )
    fenced = [pod.name for pod, fence in zip(pods, answers[1::2], strict=True) if fence]
    if fenced:
        _acl(client, "DELUSER", *fenced)


def _set_users(client: "redis.Redis", pods: list[Pod], *, also: Sequence[str] = ()) -> list[Any]:
    """Make the users, and look for each one's fence; `also`: commands that not every server has."""
    pipe = client.pipeline(transaction=False)
    for pod in pods:
        words = ("ACL", "SETUSER", pod.name, *rules(pod), *(f"+{name}" for name in also))
        pipe.execute_command(*words)  # type: ignore[no-untyped-call]
        pipe.exists(connecting.keys(pod).fence(pod.name))
    return pipe.execute(raise_on_error=False)


def rules(pod: Pod) -> list[str]:
    """The rules of `ACL SETUSER` for this pod; they contain hashes, not passwords.

    Raises:
        RefusedName: a stream has a name that means something else in a rule.
    """
    told = AgentSettings(redis_url="", pod=pod.name, **pod.agent)
    keys = Keys(told.fleet)
    own = keys.pod(pod.name)
    given = [keys.lease, keys.command(pod.name), keys.fence(pod.name), keys.secrets]
    targets = [told.results, f"{told.results}:*", told.dead, *key_names.patterns(told.reply_to)]
    hashes = [hashlib.sha256(p.encode()).hexdigest() for p in _passwords(pod)]
    backlog: list[str] = []
    if not told.celery_app:  # its worker uses its app's own credentials
        key_names.check_names(stream=told.stream, results=told.results, reply_to=told.reply_to)
        backlog = [_selector(ON_STREAM, [told.stream]), _selector(ON_TARGETS, targets)]
        marks = keys.offered("*")
        backlog.append(_selector(ON_MARKS, [marks]))
        backlog.append(_selector(ON_FITS, [keys.fits]))
        given += [told.stream, told.dead, marks, keys.fits]
        if told.kind == DATASET:
            backlog.append(_selector(ON_STREAM_OF_RANGES, [told.stream]))
            backlog.append(_selector(ON_RECEIPTS, [told.results]))
            backlog.append(_selector(ON_ROWS, [keys.rows]))
            given += [told.results, keys.rows]
    if told.bundle:
        words = " ".join(f"+{name}" for name in ON_CODE)
        backlog.append(f"({words} %R~{keys.code}*)")
    return [
        *("reset", "on", *(f"#{digest}" for digest in hashes)),
        *("-@all", *(f"+{name}" for name in ANYWHERE + ON_GIVEN_KEYS)),
        *(f"~{key}" for key in [own, *given]),
        _selector(ON_HEARTBEAT, [own]),
        f"({' '.join(f'+{name}' for name in ON_SECRETS)} %R~{keys.secrets})",
        *backlog,
    ]


def _selector(commands: Iterable[str], keys: Iterable[str]) -> str:
    return f"({' '.join([*(f'+{name}' for name in commands), *(f'~{key}' for key in keys)])})"


def _with_user(url: str, user: str, password: str) -> str:
    """The address with these credentials instead of its own."""
    parts = urlsplit(url)
    options = [
        (name, value)
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
        if name not in {"username", "password"}
    ]
    host = parts.netloc.rpartition("@")[2]
    netloc, query = f"{user}:{password}@{host}", urlencode(options)
    return urlunsplit(parts._replace(netloc=netloc, query=query))


def _acl(client: "redis.Redis", *words: str) -> Any:
    """The answer to an ACL command; None if the server refuses it."""
    try:
        return client.execute_command("ACL", *words)  # type: ignore[no-untyped-call]
    except ResponseError:
        return None
