"""Reads what agents say, for many pods in one round trip, and tells agents that a manager lives."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import groupby
from typing import Any

import redis
from redis import RedisError

from pods import wiring
from pods.agent.protocol import Heartbeat, Keys
from pods.connections import redis_client
from pods.models import Pod


class HeartbeatsUnknown(Exception):
    """Redis does not answer: nothing can be said of any agent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """An agent's last heartbeat."""

    age: timedelta  # by the Redis server's clock alone
    said: Heartbeat


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumer:
    """What the server knows of the consumer that is named after a pod."""

    asked: timedelta  # since it last asked for anything, and got it or not
    idle: timedelta | None  # since it last got or settled an item; None: never
    pending: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """What Redis knows of a set of pods at one moment."""

    beats: Mapping[int, Beat]  # by pod id; missing: no heartbeat, or none that can be read
    consumers: Mapping[int, Consumer]  # by pod id; missing: not asked for, or no such consumer


def read(pods: Sequence[Pod], *, consumers: bool = False, renew: bool = False) -> Readings:
    """The heartbeats of the pods: one pipelined round trip for each Redis server.

    `consumers` also asks how each pod's consumer is; `renew` also raises the lease
    of each pod's fleet: it tells the agents that a manager lives.

    Raises:
        HeartbeatsUnknown: a server did not answer.
    """
    beats: dict[int, Beat] = {}
    found: dict[int, Consumer] = {}
    by_server = groupby(sorted(pods, key=wiring.redis_url), key=wiring.redis_url)
    for url, group in by_server:
        _read_server(redis_client(url), list(group), beats, found, consumers=consumers, renew=renew)
    return Readings(beats=beats, consumers=found)


def _read_server(
    client: redis.Redis,
    pods: Sequence[Pod],
    beats: dict[int, Beat],
    found: dict[int, Consumer],
    *,
    consumers: bool,
    renew: bool,
) -> None:
    groups = sorted({(p.agent["stream"], p.agent["group"]) for p in pods}) if consumers else []
    pipe = client.pipeline(transaction=False)
    pipe.time()
    for pod in pods:
        pipe.hgetall(wiring.keys(pod).pod(pod.name))
    for stream, group in groups:
        pipe.xinfo_consumers(stream, group)
    if renew:
        for fleet in sorted({p.agent["fleet"] for p in pods}):
            pipe.incr(Keys(fleet).lease)
    try:
        (seconds, micros), *answers = pipe.execute(raise_on_error=False)
    except (RedisError, TypeError) as exc:
        raise HeartbeatsUnknown(f"Redis does not answer: {exc}") from exc
    now_ms = seconds * 1000 + micros // 1000
    for pod, raw in zip(pods, answers, strict=False):
        if isinstance(raw, Exception):
            raise HeartbeatsUnknown(f"Redis does not tell of {pod}: {raw}") from raw
        said = Heartbeat.parse(raw) if raw else None
        if said is not None:
            beats[pod.pk] = Beat(age=timedelta(milliseconds=max(0, now_ms - said.at_ms)), said=said)
    answers = answers[len(pods) :][: len(groups)]
    found.update(_consumers_by_pod(pods, zip(groups, answers, strict=True)))


def _consumers_by_pod(
    pods: Sequence[Pod], answers: Iterable[tuple[tuple[str, str], Any]]
) -> Mapping[int, Consumer]:
    found: dict[int, Consumer] = {}
    for (stream, group), consumers in answers:
        if isinstance(consumers, Exception):  # no such stream or group: nobody was active on it
            continue
        by_name = {c["name"].decode(): _consumer(c) for c in consumers}
        for pod in pods:
            if (pod.agent["stream"], pod.agent["group"]) == (stream, group) and pod.name in by_name:
                found[pod.pk] = by_name[pod.name]
    return found


def _consumer(raw: Mapping[str, Any]) -> Consumer:
    idle = raw.get("inactive", raw["idle"])  # servers before 7.2 know only one of them
    return Consumer(
        asked=timedelta(milliseconds=max(0, raw["idle"])),
        idle=None if idle < 0 else timedelta(milliseconds=idle),
        pending=int(raw["pending"]),
    )


def renew_lease(url: str, fleet: str) -> None:
    """Tell the agents of a fleet that a manager lives; silent where Redis is down."""
    try:
        redis_client(url).incr(Keys(fleet).lease)
    except RedisError:
        return
