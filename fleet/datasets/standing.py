"""The ranges of a fleet in Redis: which are not finished, and the exact way to add more."""

import re
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

import redis

from fleet.datasets.coverage import Bounds, bounds
from pods.agent import protocol
from pods.agent.protocol import Keys
from pods.agent.ranges import RANGE, ROWS, Range
from pods.base.redis import make_consumer_group

_SCRIPTS: Final = Path(__file__).parent / "scripts"
LOOK: Final = (_SCRIPTS / "look.lua").read_text()
RESTORE: Final = (_SCRIPTS / "restore.lua").read_text()
ADD: Final = (_SCRIPTS / "add.lua").read_text()
RECOUNT: Final = (_SCRIPTS / "recount.lua").read_text()
# Who feeds a stream, and how many steps it made. No fleet can have this name.
FEEDER: Final = "podfleet:_fed:"
# A look at 100,000 ranges keeps the server busy for about a third of a second.
MOST_RANGES: Final = 200_000
# A step keeps the server busy while it adds: 200 ranges are about 150 kB.
AT_ONCE: Final = 200
_ID: Final = re.compile(r"(?P<file>[0-9a-f]{16})-(?P<start>\d+)-(?P<end>\d+|end)")


class AnotherFeeder(ValueError):
    """Another `feed` of the same fleet took over, or its Redis was emptied meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """The counts of rows of a fleet. None: the server does not have them."""

    planned: int | None = None
    done: int = 0
    failed: int = 0
    dead: int = 0

    @property
    def left(self) -> int:
        """Rows that are neither done, nor failed, nor in a dead range."""
        return max(0, (self.planned or 0) - self.done - self.failed - self.dead)


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The ranges that are not finished, at one moment."""

    counts: Counts
    grouped: bool  # stream and group exist
    waiting: Mapping[str, int] = field(default_factory=dict)  # range -> rows
    pending: Mapping[str, int] = field(default_factory=dict)
    dead: Mapping[str, int] = field(default_factory=dict)

    @property
    def left(self) -> int:
        """How many ranges wait or are in somebody's hand."""
        return len(self.waiting) + len(self.pending)

    def by_file(self) -> dict[str, list[Bounds]]:
        """The bounds of all of them, also of the dead ones, by the key of their file."""
        found: dict[str, list[Bounds]] = {}
        for name in (*self.waiting, *self.pending, *self.dead):
            if place := _ID.fullmatch(name):
                end = None if place["end"] == "end" else int(place["end"])
                found.setdefault(place["file"], []).append(bounds(int(place["start"]), end))
        return found


class RangeStream:
    """The stream of ranges of one fleet."""

    def __init__(self, client: "redis.Redis", *, fleet: str, stream: str, group: str) -> None:
        """`client`: bytes in, bytes out."""
        self._client, self._stream, self._group = client, stream, group
        self._rows, self._feeder = rows_key(fleet), FEEDER + stream
        self._run, self._step = uuid.uuid4().hex, 0

    def look(self) -> Standing:
        """The ranges that are not finished.

        Raises:
            RedisError: the server does not answer, or a key has another type.
        """
        return self._look("")

    def take_over(self) -> Standing:
        """Become the one feeder, and look. The counts of rows are set right in the same step.

        Counts that were lost are not: `restore` makes them anew.

        Raises:
            RedisError: as `look`.
        """
        make_consumer_group(self._client, self._stream, self._group)
        self._step = 0
        return self._look(self._word)

    def restore(self, seen: Standing, *, done: int, failed: int, schema: bytes) -> None:
        """Make lost counts anew, from the rows in the sink and what `take_over` has seen.

        `schema`: of the parts, as agents keep it; b"" if nobody knows it.

        Raises:
            AnotherFeeder: another feeder took over.
            RedisError: the server does not answer.
        """
        left = sum(seen.waiting.values()) + sum(seen.pending.values())
        words: list[Any] = [self._word, done, failed, sum(seen.dead.values()), left, schema]
        keys = (self._rows, self._feeder)
        self._refuse_another(self._client.eval(RESTORE, len(keys), *keys, *words))

    def recount(self, *, done: int, failed: int) -> None:
        """Set the counts of finished rows, after `take_over`; the next one sets the others right.

        Raises:
            AnotherFeeder: another feeder took over.
            RedisError: the server does not answer.
        """
        keys = (self._rows, self._feeder)
        words: list[Any] = [self._word, done, failed]
        self._refuse_another(self._client.eval(RECOUNT, len(keys), *keys, *words))

    def add(self, ranges: Sequence[Range]) -> Iterator[int]:
        """Add these ranges; yield how many are on the stream after each step.

        Raises:
            AnotherFeeder: another feeder took over; what was added stays.
            RedisError: the server does not answer; the next `feed` adds what is missing.
        """
        for first in range(0, len(ranges), AT_ONCE):
            some = ranges[first : first + AT_ONCE]
            before, self._step = self._word, self._step + 1
            words: list[Any] = [before, self._word]
            for one in some:
                entry = one.entry()
                words += [entry["id"], entry[ROWS], entry[RANGE]]
            keys = (self._stream, self._rows, self._feeder)
            self._refuse_another(self._client.eval(ADD, len(keys), *keys, *words))
            yield first + len(some)

    def _refuse_another(self, feeder: Any) -> None:
        if feeder != self._word.encode():
            raise AnotherFeeder(
                "another feed of this fleet runs, or its Redis was emptied; run the same command "
                "again to add what is missing"
            )

    @property
    def _word(self) -> str:
        return f"{self._run}:{self._step}"

    def _look(self, feeder: str) -> Standing:
        keys = (self._stream, protocol.dead_stream(self._stream), self._rows, self._feeder)
        ask = self._client.eval if feeder else self._client.eval_ro
        answer = ask(LOOK, len(keys), *keys, self._group, str(MOST_RANGES), feeder)
        _, planned, done, failed, dead, grouped, *found = cast("list[Any]", answer)
        waiting, pending, letters = map(_ranges, found)
        return Standing(
            counts=Counts(
                planned=None if planned is None else int(planned),
                done=int(done or 0),
                failed=int(failed or 0),
                dead=int(dead or 0),
            ),
            grouped=bool(grouped),
            waiting=waiting,
            pending=pending,
            dead=letters,
        )


def rows_key(fleet: str) -> str:
    """The hash with the counts of rows of a fleet."""
    return Keys(fleet).rows


def _ranges(flat: Sequence[Any]) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, rows in zip(flat[::2], flat[1::2], strict=True):
        text = name.decode("utf-8", "replace")
        found[text] = found.get(text, 0) + int(rows)
    return found
