"""Measures a Celery queue on Redis: waiting messages of every priority, and those that workers hold."""

import json
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast

import redis
from redis import RedisError, ResponseError

from fleet.backlog.base import BacklogUnknown, Depth

SCRIPT: Final = (Path(__file__).parent / "scripts" / "celery_depth.lua").read_text()
# The most unacknowledged messages that are read, of all queues of the database together. There are
# workers x prefetch of them, so the probe extrapolates only if something is wrong already.
COUNTED: Final = 10_000
BYTES: Final = 4 * 2**20
CLOCK_STEP: Final = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class CeleryKeys:
    """The names that an app's transport gives its keys; the defaults are kombu's."""

    queue: str
    global_keyprefix: str = ""
    sep: str = "\x06\x16"
    # Kombu's default steps are 0, 3, 6, 9; looking at ten lists finds those of any other choice.
    priority_steps: Sequence[int] = tuple(range(10))
    unacked_key: str = "unacked"
    unacked_index_key: str = "unacked_index"
    exchange: str = ""  # needed if its name is neither the queue's nor `celery`

    @property
    def waiting(self) -> list[str]:
        """The queue's list of each priority."""
        steps = [f"{self.sep}{step}" for step in self.priority_steps if step]
        return [f"{self.global_keyprefix}{self.queue}{step}" for step in ("", *steps)]

    @property
    def exchanges(self) -> list[str]:
        """The exchanges in which to look for a binding of the queue, even if no message used them."""
        return [name for name in (self.exchange, self.queue, "celery") if name]


@dataclass(frozen=True, slots=True)
class _Reading:
    """The script's answer, in the order of its values."""

    seconds: int
    microseconds: int
    waiting: int
    # when the oldest of those was published, in seconds; None: its publisher set no time
    published: bytes | None
    held: int  # unacknowledged messages of all queues
    read: int  # of those
    taken: list[tuple[bytes, int]]  # exchange and routing key, how many
    bindings: list[list[bytes]]  # an exchange and its bindings of this queue


class CeleryRedisProbe:
    """Measures one Celery queue whose broker is Redis."""

    def __init__(self, client: "redis.Redis", keys: CeleryKeys, *, counted: int = COUNTED) -> None:
        """`client`: bytes in, bytes out; `counted`: the most unacknowledged messages to read."""
        self._client, self._keys, self._counted = client, keys, counted

    def measure(self) -> Depth:
        """Return what waits and what is unacknowledged at one moment, in one round trip.

        Celery sets no time in messages: the age of the oldest waiting one is known only if publishers
        set the property `timestamp`.

        Raises:
            BacklogUnknown: the server does not answer, or nothing on it knows the queue. Redis keeps
                no key for an empty queue; a binding shows that the server was not emptied.
        """
        seen = self._ask()
        pending = sum(many for route, many in seen.taken if self._ours(route, seen))
        if not (seen.waiting or pending or seen.bindings):
            raise BacklogUnknown(
                f"nothing on this Redis knows the queue {self._keys.queue}: it was emptied, or no "
                "worker and no task has declared the queue yet; if its exchange has another name, "
                "say so in the address, as ?exchange=NAME"
            )
        note = ""
        if unread := max(0, seen.held - seen.read):
            share = pending / seen.read if seen.read else 1.0
            pending += max(1, math.ceil(unread * share))
            note = (
                f"{seen.read:,} of {seen.held:,} unacknowledged messages of all queues were read; "
                "the probe assumes that this queue has the same share of the others"
            )
        return Depth(
            waiting=seen.waiting,
            pending=pending,
            estimated=bool(note),
            oldest_age=None if seen.published is None else _age(seen, float(seen.published)),
            note=note,
        )

    def _ask(self) -> _Reading:
        keys, prefix = self._keys, self._keys.global_keyprefix
        names = [prefix + keys.unacked_key, prefix + keys.unacked_index_key, *keys.waiting]
        arguments: list[Any] = [self._counted, BYTES, f"{prefix}_kombu.binding."]
        arguments += [f"{keys.sep}{keys.queue}", *keys.exchanges]
        try:
            answer = self._client.eval_ro(SCRIPT, len(names), *names, *arguments)
        except ResponseError as exc:
            text = str(exc).partition(" script: ")[0]
            if "WRONGTYPE" in text or "wrong kind of value" in text:
                text = f"{keys.queue} or {keys.unacked_key} is not a key of a Celery broker; {text}"
            raise BacklogUnknown(f"Redis answered: {text}") from exc
        except RedisError as exc:
            raise BacklogUnknown(f"Redis does not answer: {exc}") from exc
        return _Reading(*cast("list[Any]", answer))

    def _ours(self, route: bytes, seen: _Reading) -> bool:
        """Whether a message with this exchange and routing key came from this queue."""
        try:
            exchange, routing_key = json.loads(b"[%s]" % route)
        except ValueError:
            return True  # the depth must never be too low
        if not exchange:
            return bool(routing_key == self._keys.queue)
        for name, *members in seen.bindings:
            if name.decode() == exchange:
                return any(self._binds(member.decode(), str(routing_key)) for member in members)
        return False

    def _binds(self, member: str, routing_key: str) -> bool:
        key, pattern, *_queue = member.split(self._keys.sep)
        return key == routing_key or bool(pattern and re.match(pattern, routing_key))


def _age(seen: _Reading, since: float) -> timedelta | None:
    """The time since then, by the server's clock; None if the other clock is far off."""
    age = timedelta(seconds=seen.seconds + seen.microseconds / 1e6 - since)
    return max(age, timedelta(0)) if age > -CLOCK_STEP else None
