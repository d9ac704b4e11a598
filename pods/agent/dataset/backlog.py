"""The calls to Redis that only an agent of a dataset makes."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Union

import pyarrow as pa

from pods.agent.dataset import schema as schemas
from pods.agent.protocol import RELEASED_CONSUMER
from pods.agent.ranges import Range, Receipt
from pods.agent.stream import Stream, sendable

# An idle agent asks for work about each second.
SEEN_MS = 5000


class Finished(NamedTuple):
    """What a commit did. `counts`: the receipt that counts; None: it is not known any more."""

    ours: bool
    counts: Union[Receipt, None]


class RangeStream(Stream):
    """A stream whose entries are ranges. Threads may share it."""

    def commit_range(
        self,
        entry: str,
        receipt: Receipt,
        planned: int,
        rest: Sequence[Range],
        *,
        divided: bool = False,
    ) -> Finished:
        """Acknowledge a range, publish its receipt, and add its rest to the stream, atomically.

        `planned`: what is added to the planned rows, because they were an estimate. `divided`: the
        range is a piece of a divided one, and so is its rest.
        """
        settings = self._settings
        keys = [*self._keys, settings.results, self._names.rows]
        args = [*self._who, settings.longest_results, entry, receipt.range, receipt.dumps()]
        args += [receipt.done, receipt.failed, planned, *_words(rest, divided=divided)]
        ours, said = self._run("commit_range", keys, args)
        return Finished(bool(ours), _receipt(said))

    def is_finished(self, entry: str) -> bool:
        """Whether the entry was acknowledged, or Redis was emptied: nobody waits for its part."""
        found: Any = self._client.xpending_range(
            self._settings.stream, self._settings.group, entry, entry, 1
        )
        return not found

    def divide(self, entry: str, pieces: Sequence[Range], planned: int, most: int) -> int:
        """Put the pieces of a range in its place; without pieces, only count that it was given up.

        Returns 1 if that is done, 0 if the entry is another agent's, -1 after `most` divisions.
        """
        keys = [*self._keys, self._names.rows]
        args = [*self._who, entry, most, planned, *_words(pieces, divided=True)]
        return int(self._run("divide", keys, args))

    def idle_agents(self) -> int:
        """How many other agents have nothing to do. 0 while ranges wait."""
        return int(self._call("idle", [RELEASED_CONSUMER, SEEN_MS]))

    def fix_schema(self, schema: Union[pa.Schema, None] = None) -> Union[pa.Schema, None]:
        """The schema that all parts have. Where there is none, this one from now on.

        Raises:
            pa.ArrowException, ValueError: what the hash has is not a schema.
        """
        keys = [self._names.rows, self._keys[1]]
        said = self._run("fix_schema", keys, [b"" if schema is None else schemas.dumped(schema)])
        return schemas.loaded(said) if said else None


def _words(ranges: Sequence[Range], *, divided: bool) -> list[Any]:
    """The fields and values of entries, each after their number."""
    words: list[Any] = []
    for one in ranges:
        flat = [part for pair in one.entry(divided=divided).items() for part in pair]
        words += [len(flat), *(sendable(str(part)) for part in flat)]
    return words


def _receipt(said: bytes) -> Union[Receipt, None]:
    try:
        return Receipt.loads(said)
    except ValueError:
        return None
