"""Makes the part of a range and the file of its failed rows, in memory, row by row."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Union

import pyarrow as pa

from pods.agent.dataset import formats
from pods.agent.dataset import schema as schemas
from pods.agent.dataset.sinks import GROUP_BYTES, TableWriter
from pods.agent.dataset.values import Cell

MOST_SAMPLES = 3
LONGEST_SAMPLE = 300


class Failure(NamedTuple):
    """A row that has no result."""

    id: str
    error: str
    traceback: str
    tries: int


@dataclass(frozen=True)
class Written:
    """A part in memory. `errors` is None where no row failed."""

    part: bytes
    errors: Union[bytes, None]
    done: int
    failed: Sequence[str]  # ids
    samples: Sequence[str]


class Part:
    """The part of one range, which grows. Its schema must be known before its first row."""

    def __init__(
        self, part_format: str, schema: pa.Schema, *, group_bytes: int = GROUP_BYTES
    ) -> None:
        self.schema = schema
        self._format = formats.sink_format(part_format)
        self._writer = self._format.writer(schema)
        if isinstance(self._writer, TableWriter):
            self._writer.group_bytes = group_bytes
        self._failed: list[Failure] = []
        self._failed_bytes = 0
        self.done = 0

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self._writer.size + self._failed_bytes

    def add_rows(self, ids: Sequence[str], rows: Sequence[Mapping[str, Cell]], tries: int) -> None:
        """Add results of a handler of items. Those that do not fit the schema are failed rows."""
        self._added(ids, self._writer.add_rows(ids, rows), tries)

    def add_table(self, ids: Sequence[str], made: pa.Table, tries: int) -> None:
        """Add results of a handler of columns. If they do not fit the schema, the rows failed."""
        self._added(ids, self._writer.add_table(ids, made), tries)

    def _added(self, ids: Sequence[str], bad: Mapping[int, str], tries: int) -> None:
        for n, why in sorted(bad.items()):
            self.fail(Failure(ids[n], why, "", tries))
        self.done += len(ids) - len(bad)

    def fail(self, failure: Failure) -> None:
        """Add a failed row."""
        self._failed.append(failure)
        self._failed_bytes += len(failure.error) + len(failure.traceback) + len(failure.id)

    def close(self) -> Written:
        """The files."""
        return Written(
            part=self._writer.close(),
            errors=self._errors() if self._failed else None,
            done=self.done,
            failed=[failure.id for failure in self._failed],
            samples=[f.error[:LONGEST_SAMPLE] for f in self._failed[:MOST_SAMPLES]],
        )

    def _errors(self) -> Any:
        rows = [[schemas.readable(value) for value in failure] for failure in self._failed]
        columns = [
            pa.array(column, field.type)
            for column, field in zip(zip(*rows, strict=True), schemas.ERRORS, strict=True)
        ]
        writer = self._format.writer(schemas.ERRORS)
        table = pa.Table.from_arrays(columns, schema=schemas.ERRORS)
        writer.add_table([row[0] for row in rows], table)
        return writer.close()
