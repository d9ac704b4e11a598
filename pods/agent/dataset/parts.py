"""Makes the part of a range and the file of its failed rows, in memory, row by row."""

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Union

import pyarrow as pa
import pyarrow.parquet as pq

from pods.agent.dataset import schema as schemas
from pods.agent.dataset.values import Cell, Vector
from pods.agent.protocol import ITEM_ID
from pods.agent.ranges import PartFormat

COMPRESSION = "zstd"
# Rows wait until they are worth a row group.
GROUP_BYTES = 16 * 1024 * 1024
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

    def __init__(self, part_format: PartFormat, schema: pa.Schema) -> None:
        self.schema = schema
        self._format = part_format
        # Arrow's own buffer copies all that it has whenever it grows: a quarter of the time of a part
        self._sink = io.BytesIO()
        self._writer = None if part_format is PartFormat.JSONL else _writer(self._sink, schema)
        self._tables: list[pa.Table] = []
        self._waiting = 0  # bytes
        self._failed: list[Failure] = []
        self._failed_bytes = 0
        self.done = 0

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self._sink.tell() + self._waiting + self._failed_bytes

    def add_rows(self, ids: Sequence[str], rows: Sequence[Mapping[str, Cell]], tries: int) -> None:
        """Add results of a handler of items. Those that do not fit the schema are failed rows."""
        if self._format is PartFormat.JSONL:
            self._add_lines(ids, rows, tries)
            return
        whys = [schemas.misfit(row, self.schema) for row in rows]
        if any(whys):
            for own_id, why in zip(ids, whys, strict=True):
                if why:
                    self.fail(Failure(own_id, why, "", tries))
            good = [n for n, why in enumerate(whys) if not why]
            ids, rows = [ids[n] for n in good], [rows[n] for n in good]
        if ids:
            ids = [schemas.readable(own_id) for own_id in ids]
            self._add(schemas.table_of(ids, rows, self.schema))

    def _add_lines(
        self, ids: Sequence[str], rows: Sequence[Mapping[str, Cell]], tries: int
    ) -> None:
        for own_id, row in zip(ids, rows, strict=True):
            try:
                self._sink.write(_line(own_id, row))
            except ValueError as exc:  # not a number
                self.fail(Failure(own_id, str(exc), "", tries))
            else:
                self.done += 1

    def add_table(self, ids: Sequence[str], made: pa.Table, tries: int) -> None:
        """Add results of a handler of columns. If they do not fit the schema, the rows failed."""
        table = schemas.with_ids_first(made, ids)
        if self._format is PartFormat.JSONL:
            self._add_lines(ids, table.to_pylist(), tries)
            return
        fitting = schemas.conforming(table, self.schema)
        if isinstance(fitting, str):
            for own_id in ids:
                self.fail(Failure(own_id, fitting, "", tries))
        else:
            self._add(fitting)

    def _add(self, table: pa.Table) -> None:
        self._tables.append(table)
        self._waiting += table.nbytes
        self.done += table.num_rows
        if self._waiting >= GROUP_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._writer is not None and self._tables:
            self._writer.write_table(pa.concat_tables(self._tables))
            self._tables, self._waiting = [], 0

    def fail(self, failure: Failure) -> None:
        """Add a failed row."""
        self._failed.append(failure)
        self._failed_bytes += len(failure.error) + len(failure.traceback) + len(failure.id)

    def close(self) -> Written:
        """The files."""
        self._flush()
        if self._writer is not None:
            self._writer.close()
        errors = _errors(self._failed, self._format) if self._failed else None
        return Written(
            part=self._sink.getvalue(),  # without a copy
            errors=errors,
            done=self.done,
            failed=[failure.id for failure in self._failed],
            samples=[f.error[:LONGEST_SAMPLE] for f in self._failed[:MOST_SAMPLES]],
        )


def _writer(sink: Any, schema: pa.Schema) -> pq.ParquetWriter:
    # a dictionary of vectors or ids is larger than they are
    return pq.ParquetWriter(sink, schema, compression=COMPRESSION, use_dictionary=False)


def _errors(failed: Sequence[Failure], part_format: PartFormat) -> bytes:
    rows = [[schemas.readable(value) for value in failure] for failure in failed]
    if part_format is PartFormat.JSONL:
        names = schemas.ERRORS.names
        return b"".join(_json_line(dict(zip(names, row, strict=True))) for row in rows)
    sink = io.BytesIO()
    columns = list(zip(*rows, strict=True))
    table = pa.Table.from_arrays(
        [
            pa.array(column, field.type)
            for column, field in zip(columns, schemas.ERRORS, strict=True)
        ],
        schema=schemas.ERRORS,
    )
    pq.write_table(table, sink, compression=COMPRESSION)
    return sink.getvalue()


def _line(own_id: str, row: Mapping[str, Cell]) -> bytes:
    return _json_line({ITEM_ID: own_id, **{k: _in_json(v) for k, v in row.items() if k != ITEM_ID}})


def _in_json(cell: Cell) -> Any:
    return memoryview(cell.raw).cast("f").tolist() if isinstance(cell, Vector) else cell


def _json_line(row: Mapping[str, Any]) -> bytes:
    text = json.dumps(
        row, ensure_ascii=False, separators=(",", ":"), default=_other, allow_nan=False
    )
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _other(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)
