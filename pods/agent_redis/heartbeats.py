"""Reads heartbeats of many pods in one round trip, and tells agents that a manager lives."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import groupby
from typing import Any, Final

import redis
from redis import RedisError

from pods.accounts import connecting
from pods.agent.protocol import Heartbeat, Keys, written_at_ms
from pods.base.clock import utcnow
from pods.base.redis import redis_client
from pods.models import Pod

# It works on a full server too: agents that see no manager for `orphan_seconds` end themselves.
RENEW: Final = "#!lua flags=allow-oom\nreturn redis.call('INCR', KEYS[1])"


class HeartbeatsUnknown(Exception):
    """No Redis server answers, so nothing is known about any agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """An agent's last heartbeat."""

    age: timedelta  # by the Redis server's clock only
    said: Heartbeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """What the server knows about the consumer that has a pod's name."""

    asked: timedelta  # since it last asked for items, whether it got some or not
    idle: timedelta | None  # since it last got or settled an item; None: never
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What Redis knows about a set of pods at one moment."""

    beats: Mapping[int, Beat]  # by pod id; missing: no heartbeat, or it cannot be understood
    consumers: Mapping[int, Consumer]  # by pod id; missing: not asked for, or no such consumer
    # The age of a heartbeat that cannot be understood otherwise: only a sign of life.
    unread: Mapping[int, timedelta] = field(default_factory=dict)
    # Pods whose group can be read. A missing consumer of any other pod says nothing.
    grouped: frozenset[int] = frozenset()
    # By pod id: for how long its server has kept its data. Missing: it stores nothing now.
    remembers: Mapping[int, timedelta] = field(default_factory=dict)
    # Pods of which nothing could be read: their server, or their key, did not answer.
    unheard: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class _Found:
    """Readings that are still being collected."""

    beats: dict[int, Beat] = field(default_factory=dict)
    consumers: dict[int, Consumer] = field(default_factory=dict)
    unread: dict[int, timedelta] = field(default_factory=dict)
    grouped: set[int] = field(default_factory=set)
    remembers: dict[int, timedelta] = field(default_factory=dict)
    unheard: set[int] = field(default_factory=set)


def read(pods: Sequence[Pod], *, consumers: bool = False, renew: bool = False) -> Readings:
    """Read the heartbeats of the pods, in one pipelined round trip per Redis server.

    `consumers` also reads each pod's consumer. `renew` also raises the lease of each pod's fleet,
    which tells the agents that a manager lives. A server that does not answer hides only its pods.

    Raises:
        HeartbeatsUnknown: nothing could be read of any of the pods.
    """
    found = _Found()
    by_server = groupby(sorted(pods, key=connecting.redis_url), key=connecting.redis_url)
    because = ""
    for url, group in by_server:
        here = list(group)
        try:
            _read_server(redis_client(url), here, found, consumers=consumers, renew=renew)
        except (RedisError, OSError, TypeError, ValueError) as exc:  # also of an odd address
            because = str(exc)
            found.unheard.update(pod.pk for pod in here)
    if pods and len(found.unheard) == len(pods):
        raise HeartbeatsUnknown(f"Redis does not answer: {because}")
    return Readings(
        beats=found.beats,
        consumers=found.consumers,
        unread=found.unread,
        grouped=frozenset(found.grouped),
        remembers=found.remembers,
        unheard=frozenset(found.unheard),
    )


def _read_server(
    client: redis.Redis, pods: Sequence[Pod], found: _Found, *, consumers: bool, renew: bool
) -> None:
    groups = sorted({(p.agent["stream"], p.agent["group"]) for p in pods}) if consumers else []
    fleets = sorted({p.agent["fleet"] for p in pods})
    now_ms = int(utcnow().timestamp() * 1000)
    pipe = client.pipeline(transaction=False)
    pipe.time()
    pipe.info("server")
    for pod in pods:
        pipe.hgetall(connecting.keys(pod).pod(pod.name))
    for stream, group in groups:
        pipe.xinfo_consumers(stream, group)
    for fleet in fleets:
        pipe.hgetall(_memory(fleet))
    if renew:
        for fleet in fleets:
            pipe.eval(RENEW, 1, Keys(fleet).lease)
            # This fails if the server is full: then agents cannot settle their items either.
            pipe.hset(_memory(fleet), "read_at_ms", now_ms)
    (seconds, micros), server, *answers = pipe.execute(raise_on_error=False)
    server_ms = seconds * 1000 + micros // 1000
    _find_beats(zip(pods, answers, strict=False), server_ms, found)
    answers = answers[len(pods) :]
    _find_consumers(pods, zip(groups, answers, strict=False), found)
    marks, writes = answers[len(groups) :][: len(fleets)], answers[len(groups) + len(fleets) :]
    run = "" if isinstance(server, Exception) else str(server.get("run_id", ""))
    full = any(isinstance(answer, Exception) for answer in writes)
    memories = dict(zip(fleets, marks, strict=True))
    if not full:
        _remember(client, pods, memories, run=run, now_ms=now_ms, found=found)


def _memory(fleet: str) -> str:
    """The key of a mark that a server loses together with its heartbeats."""
    return f"{Keys(fleet).prefix}memory"


def _remember(
    client: "redis.Redis",
    pods: Sequence[Pod],
    memories: Mapping[str, Any],
    *,
    run: str,
    now_ms: int,
    found: _Found,
) -> None:
    """Find how long the server has had its mark; set a new mark if it was lost.

    A server that was emptied, restarted or replaced has old heartbeats or none. That says nothing
    about an agent before it had time to send a heartbeat again.
    """
    kept_ms: dict[str, int] = {}
    for fleet, mark in memories.items():
        since_ms = _since_ms(mark, run)
        if since_ms is None:
            with suppress(RedisError):  # the next reading finds it missing and sets it
                client.hset(_memory(fleet), mapping={"run": run, "since_ms": now_ms})
        kept_ms[fleet] = 0 if since_ms is None else max(0, now_ms - since_ms)
    for pod in pods:
        found.remembers[pod.pk] = timedelta(milliseconds=kept_ms[pod.agent["fleet"]])


def _since_ms(mark: Any, run: str) -> int | None:
    """Since when this run of the server has its mark; None: no mark, or another run's mark."""
    try:
        return int(mark[b"since_ms"]) if mark[b"run"].decode() == run else None
    except (KeyError, TypeError, ValueError):
        return None


def _find_beats(answers: Iterable[tuple[Pod, Any]], server_ms: int, found: _Found) -> None:
    for pod, raw in answers:
        if isinstance(raw, Exception):
            found.unheard.add(pod.pk)
            continue
        at_ms = written_at_ms(raw)
        if at_ms is None:
            continue
        age = timedelta(milliseconds=max(0, server_ms - at_ms))
        said = Heartbeat.parse(raw)
        if said is None:
            found.unread[pod.pk] = age
        else:
            found.beats[pod.pk] = Beat(age=age, said=said)


def _find_consumers(
    pods: Sequence[Pod], answers: Iterable[tuple[tuple[str, str], Any]], found: _Found
) -> None:
    for (stream, group), consumers in answers:
        if isinstance(consumers, Exception):  # no such stream or group: nothing is known
            continue
        by_name = {c["name"].decode(): _consumer(c) for c in consumers}
        for pod in pods:
            if (pod.agent["stream"], pod.agent["group"]) == (stream, group):
                found.grouped.add(pod.pk)
                if pod.name in by_name:
                    found.consumers[pod.pk] = by_name[pod.name]


def _consumer(raw: Mapping[str, Any]) -> Consumer:
    idle = raw.get("inactive", raw["idle"])  # servers before 7.2 know only one of them
    return Consumer(
        asked=timedelta(milliseconds=max(0, raw["idle"])),
        idle=None if idle < 0 else timedelta(milliseconds=idle),
        pending=int(raw["pending"]),
    )
