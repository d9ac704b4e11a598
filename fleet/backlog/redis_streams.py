"""Measures the backlog of a consumer group on a Redis stream."""

from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, cast

import redis
from redis import RedisError, ResponseError

from fleet.backlog.ages import age_of
from fleet.backlog.base import BacklogUnknown, Depth, NoStream
from pods.agent import protocol

SCRIPT: Final = (Path(__file__).parent / "scripts" / "stream_depth.lua").read_text()
# Entries counted on each side of the group's position. Counting 10,000 entries of 20 bytes blocks the
# server for 10 to 15 ms, 2,000 entries for 2 to 3 ms (docs/reference/backlog.md). For a longer
# backlog, a bound serves a decision as well as a count.
COUNTED: Final = 5_000
COUNTED_BESIDE_LAG: Final = 1_000
BYTES: Final = 4 * 2**20
# A hash for each stream that is being fed: feeder -> "items still to come, until when (s) to believe
# that". No fleet can have this name.
AHEAD: Final = "podfleet:_ahead:"


@dataclass(frozen=True, slots=True)
class _Reading:
    """The script's answer, in the order of its values."""

    seconds: int
    microseconds: int
    length: int
    added: int  # in the whole life of the stream
    pending: int
    position: bytes
    lag: int | None  # according to the server
    read: int | None  # by the group, of all those added, according to the server
    ahead: int  # entries after the group's position, counted
    ahead_is_all: int
    behind: int  # entries up to the group's position, counted
    behind_is_all: int
    first_waiting: bytes | None
    feeders: list[bytes]  # each: how many items it still has, and until when to believe that
    dead: int | None  # dead letters

    def age(self, entry: bytes | None) -> timedelta | None:
        """How long ago an entry was added, by its id; None if the id is not a time."""
        return age_of(entry, seconds=self.seconds, microseconds=self.microseconds)


class RedisStreamProbe:
    """Measures one consumer group: entries never delivered, and entries not acknowledged."""

    def __init__(
        self,
        client: "redis.Redis",
        stream: str,
        group: str,
        *,
        counted: int = COUNTED,
        counted_beside_lag: int = COUNTED_BESIDE_LAG,
    ) -> None:
        """`client`: bytes in, bytes out; `counted`: entries, on each side of the group's position."""
        self._client, self._stream, self._group = client, stream, group
        self._counted = counted
        self._counted_beside_lag = min(counted, counted_beside_lag)

    def measure(self) -> Depth:
        """Return what waits and what is pending at one moment, in one round trip.

        If few entries lie ahead of the group's position, or few behind it, they are counted: the
        depth is then exact, whatever lag the server reports. Otherwise the probe takes the server's
        lag. If that cannot be true, it takes an upper bound and says so in the note.

        Raises:
            BacklogUnknown: the server does not answer, the stream or the group is missing, or the
                key is not a stream.
        """
        reading = self._ask()
        waiting, note = _waiting(reading)
        return Depth(
            waiting=waiting,
            pending=reading.pending,
            ahead=_ahead(reading.feeders, now=reading.seconds),
            estimated=bool(note),
            oldest_age=reading.age(reading.first_waiting),
            dead=reading.dead,
            note=note,
        )

    def _ask(self) -> _Reading:
        arguments: list[Any] = [self._group, self._counted_beside_lag, self._counted, BYTES]
        keys = (self._stream, AHEAD + self._stream, protocol.dead_stream(self._stream))
        try:
            answer = self._client.eval_ro(SCRIPT, len(keys), *keys, *arguments)
        except ResponseError as exc:
            raise self._explained(exc) from exc
        except RedisError as exc:
            raise BacklogUnknown(f"Redis does not answer: {exc}") from exc
        found, *rest = cast("list[Any]", answer)
        if not found:
            raise BacklogUnknown(self._name_the_groups(rest[0]))
        return _Reading(*rest)

    def _explained(self, error: ResponseError) -> BacklogUnknown:
        text = str(error).partition(" script: ")[0]
        if "no such key" in text:
            return NoStream(
                f"there is no stream {self._stream}: it was never made, or Redis was emptied; "
                "`fleet enqueue` makes it"
            )
        if "WRONGTYPE" in text or "wrong kind of value" in text:
            return BacklogUnknown(f"the key {self._stream} is not a stream; name another one")
        return BacklogUnknown(f"Redis answered: {text}")

    def _name_the_groups(self, names: list[bytes]) -> str:
        known = ", ".join(name.decode("utf-8", "replace") for name in names) or "none"
        return (
            f"the stream {self._stream} has no group {self._group} (it has: {known}); "
            f"XGROUP CREATE {self._stream} {self._group} 0 makes it"
        )


def _ahead(feeders: list[bytes], *, now: int) -> int:
    """How many items the living feeders still have; a feeder that went silent counts for nothing."""
    said = (feeder.split(b" ") for feeder in feeders)
    return sum(int(items) for items, until in said if int(until) > now)


def _waiting(seen: _Reading) -> tuple[int, str]:
    """How many entries lie after the group's position, and how that was estimated ("": counted)."""
    if seen.ahead_is_all:
        return seen.ahead, ""
    if seen.behind_is_all:
        return seen.length - seen.behind, ""
    least, most = seen.ahead, seen.length - seen.behind
    if seen.lag is not None and least <= seen.lag <= most:
        if seen.added == seen.length:
            return seen.lag, ""
        # Redis 7.0.15 keeps counting entries that were trimmed before they were delivered; Valkey
        # 9.1.2 does so until the group moves on (tests with random commands, 2026-11).
        return seen.lag, (
            f"the server's lag; it is too high if items were removed from the stream before they "
            f"were delivered; at least {least:,} wait"
        )
    why = (
        "the server does not know the lag"
        if seen.lag is None
        else f"the server's lag of {seen.lag:,} cannot be true"
    )
    how = "the length minus the delivered items"
    if seen.read is not None and least <= seen.added - seen.read < most:
        most, how = seen.added - seen.read, "all items ever added minus all ever read"
    return most, f"{why}; between {least:,} and {most:,} wait; the upper bound is used: {how}"
