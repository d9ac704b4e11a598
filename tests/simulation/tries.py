"""The failed tries of a fleet's items, and whether a good item became a dead letter (S16)."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

import redis

from fleet.models import Fleet
from pods.agent.protocol import Keys
from pods.agent.stream import Scripts
from pods.base.clock import utcnow

# What an agent leaves to others looks untouched for so long. Redis counts this in real time, so it
# is longer than any day takes: what another pod has in hand never looks left.
LEAVE_MS: Final = 24 * 3600 * 1000
# What an agent left to others it takes again only after this time, as claim.lua says.
OWN_AGAIN: Final = timedelta(minutes=1)
OWN_LAST: Final = timedelta(minutes=10)
TURNS: Final = 2  # of all agents: the clock may jump over hours in which the others did not act


@dataclass(slots=True, kw_only=True)
class Left:
    """An item that a pod failed and left to others."""

    by: str
    at: datetime
    turn: int
    deliveries: int


@dataclass(slots=True)
class Tries:
    """Settles failed tries with the agents' own scripts, and remembers which pods failed an item."""

    fleet: Fleet
    client: "redis.Redis"
    bad: set[bytes] = field(default_factory=set)  # the items that every pod fails
    turn: int = 0  # how often all agents had their turn
    wrongly_dead: list[str] = field(default_factory=list)
    dead: int = 0  # all dead letters that these agents made
    _buried: set[bytes] = field(default_factory=set)  # bad items that became dead letters
    _scripts: Scripts = field(init=False)
    _failed_by: dict[bytes, set[str]] = field(default_factory=dict)
    _left: dict[bytes, Left] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._scripts = Scripts(self.client)

    def forget(self) -> None:
        """The server was emptied."""
        self.bad.clear()
        self._buried.clear()
        self._failed_by.clear()
        self._left.clear()

    @property
    def hopeless(self) -> int:
        """The number of items that every pod fails, and that are not dead letters yet."""
        return len(self.bad - self._buried)

    def restore(self) -> None:
        """A replica took over, whose dead letters may be older."""
        self._buried.clear()

    def fail(self, name: str, entries: Sequence[bytes], *, others: Collection[str]) -> set[bytes]:
        """Settle failed tries. Returns the items that this pod still has: it tries them again.

        `others`: the other pods that could have tried the items.

        Raises:
            redis.RedisError: the server refused.
        """
        if not entries:
            return set()
        fleet, keys = self.fleet, Keys(self.fleet.name)
        args: list[Any] = [fleet.group, name, fleet.max_deliveries]
        for entry in entries:
            args += (entry, "ValueError: it fails", "", LEAVE_MS)
        settled = self._scripts.call(
            "fail", [fleet.stream, keys.fence(name), fleet.dead_stream], args
        )
        kept: set[bytes] = set()
        for entry, became, deliveries in settled:
            self._failed_by.setdefault(entry, set()).add(name)
            if became == b"retry":
                self._begin(name, entry, deliveries)
                kept.add(entry)
            elif became == b"left":
                self._left[entry] = Left(
                    by=name, at=utcnow(), turn=self.turn, deliveries=deliveries
                )
            elif became == b"dead":
                self._bury(entry, others)
        return kept

    def _bury(self, entry: bytes, others: Collection[str]) -> None:
        self.dead += 1
        self._buried |= {entry} & self.bad
        by = self._failed_by[entry]
        if entry not in self.bad and len(by) < 2 and others:
            self.wrongly_dead.append(f"{entry.decode()}, tried by {by} alone beside {others}")

    def may_take(self, name: str, entry: bytes) -> bool:
        """Whether the pod may take an item that was left to others."""
        left = self._left.get(entry)
        if left is None or left.by != name:
            return True
        is_last = left.deliveries >= self.fleet.max_deliveries - 1
        waited = utcnow() - left.at >= (OWN_LAST if is_last else OWN_AGAIN)
        return waited and self.turn - left.turn >= TURNS

    def took(self, name: str, entries: Sequence[bytes]) -> None:
        """Count the try that begins of each item that has failed before."""
        for entry in entries:
            left = self._left.pop(entry, None)
            if left is not None:
                self._begin(name, entry, left.deliveries)

    def _begin(self, name: str, entry: bytes, deliveries: int) -> None:
        fleet = self.fleet
        keys = [fleet.stream, Keys(fleet.name).fence(name)]
        self._scripts.call("begin", keys, [fleet.group, name, entry, deliveries + 1])
