"""Our formats of parts, and what helps to write others. `formats.py` says what a format must have."""

import base64
import io
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.json as pj
import pyarrow.parquet as pq

from pods.agent.dataset import schema as schemas
from pods.agent.dataset.formats import SinkFormat, Writer
from pods.agent.dataset.rows import BadInput
from pods.agent.dataset.sheet import new_file
from pods.agent.dataset.stores import Place, StoreError
from pods.agent.dataset.values import Cell, Vector
from pods.agent.protocol import ITEM_ID

COMPRESSION = "zstd"
# Rows wait until they are worth a row group.
GROUP_BYTES = 16 * 1024 * 1024
ROWS_AT_ONCE = 10_000
# A table is written in chunks of about so many bytes. Parquet needs the levels of each value of a
# chunk, as large as the vectors themselves; those of a small chunk stay in the processor's cache and
# below the bound of `memory.py`.
SLICE_BYTES = 384 * 1024


class TableWriter:
    """Makes tables of one schema out of results, and gives them to `write`, some MB at a time.

    `close` ends the file in `sink`.
    """

    def __init__(
        self,
        schema: pa.Schema,
        sink: io.BytesIO,
        write: Callable[[pa.Table], Any],
        close: Callable[[], Any],
    ) -> None:
        self._schema, self._sink, self._write, self._close = schema, sink, write, close
        self._tables: list[pa.Table] = []
        self._waiting = 0  # bytes
        self.group_bytes = GROUP_BYTES

    @property
    def size(self) -> int:
        """Bytes in memory."""
        return self._sink.tell() + self._waiting

    def add_rows(self, ids: Sequence[str], rows: Sequence[Mapping[str, Cell]]) -> Mapping[int, str]:
        """Add results of a handler of items. Returns the rows that do not fit the schema, and why."""
        bad = schemas.misfits(rows, self._schema)
        if bad:
            good = [n for n in range(len(rows)) if n not in bad]
            ids, rows = [ids[n] for n in good], [rows[n] for n in good]
        if ids:
            ids = [schemas.readable(own_id) for own_id in ids]
            self._add(schemas.table_of(ids, rows, self._schema))
        return bad

    def add_table(self, ids: Sequence[str], made: pa.Table) -> Mapping[int, str]:
        """Add results of a handler of columns. If they do not fit, all rows are returned, and why."""
        fitting = schemas.conforming(schemas.with_ids_first(made, ids), self._schema)
        if isinstance(fitting, str):
            return dict.fromkeys(range(len(ids)), fitting)
        self._add(fitting)
        return {}

    def _add(self, table: pa.Table) -> None:
        self._tables.append(table)
        self._waiting += table.nbytes
        if self._waiting >= self.group_bytes:
            self._flush()

    def _flush(self) -> None:
        if self._tables:
            self._write(_in_slices(pa.concat_tables(self._tables)))
            self._tables, self._waiting = [], 0

    def close(self) -> Any:
        """The file."""
        self._flush()
        self._close()
        return self._sink.getvalue()  # without a copy


def _in_slices(table: pa.Table) -> pa.Table:
    """The table in chunks of about SLICE_BYTES."""
    rows = max(1, table.num_rows * SLICE_BYTES // max(1, table.nbytes))
    return pa.Table.from_batches(table.to_batches(max_chunksize=rows), table.schema)


class Parquet(SinkFormat):
    """Parts of Parquet."""

    def writer(self, schema: pa.Schema) -> Writer:
        """A part that is compressed."""
        # Arrow's own buffer copies all that it has whenever it grows: a quarter of the time of a part
        sink = new_file()
        # a dictionary of vectors or ids is larger than they are, and no reader asks for the smallest
        # number of a vector, whose leaves have other names than these
        out = pq.ParquetWriter(
            sink,
            schema,
            compression=COMPRESSION,
            use_dictionary=False,
            write_statistics=schema.names,
        )
        return TableWriter(schema, sink, out.write_table, out.close)

    def table(self, file: Place, size: int, etag: str) -> pa.Table:
        """All rows."""
        try:
            # Arrow reads its own buffer. The threads that read a file of Python's are sometimes still
            # there when the interpreter ends, which aborts the process (apache/arrow#34314).
            return pq.read_table(pa.BufferReader(b"".join(file.pieces(0, size, etag))))
        except StoreError:
            raise
        except (pa.ArrowException, OSError, ValueError) as exc:
            raise BadInput(f"{file.url} cannot be read: {_line_of(exc)}") from exc

    def count(self, file: Place, size: int) -> int:
        """The rows, from the footer."""
        try:
            return int(pq.read_metadata(file.file(size)).num_rows)
        except StoreError:
            raise
        except (pa.ArrowException, OSError, ValueError) as exc:
            raise BadInput(f"{file.url} is not a Parquet file: {_line_of(exc)}") from exc

    def ids(self, file: Place, size: int) -> Iterator[str]:
        """The column of the ids alone."""
        try:
            with pq.ParquetFile(file.file(size), pre_buffer=False) as table:
                for batch in table.iter_batches(ROWS_AT_ONCE, columns=[ITEM_ID], use_threads=False):
                    yield from map(str, batch.column(0).to_pylist())
        except StoreError:
            raise
        except (pa.ArrowException, OSError, ValueError, IndexError) as exc:
            raise BadInput(f"{file.url} has no ids that can be read: {_line_of(exc)}") from exc


class JsonLines(SinkFormat):
    """Parts of JSON lines, which take any columns."""

    has_schema = False

    def writer(self, schema: pa.Schema) -> Writer:
        """A part without a schema."""
        return _Lines()

    def table(self, file: Place, size: int, etag: str) -> pa.Table:
        """All rows; lists of numbers that are all of one length are vectors, as in Parquet."""
        raw = b"".join(file.pieces(0, size, etag))
        try:
            return (
                _as_vectors(pj.read_json(pa.BufferReader(raw))) if raw else pa.table({ITEM_ID: []})
            )
        except (pa.ArrowException, OSError, ValueError) as exc:
            raise BadInput(f"{file.url} cannot be read: {_line_of(exc)}") from exc

    def count(self, file: Place, size: int) -> int:
        """The lines."""
        lines, last = 0, b"\n"
        for piece in file.pieces(0, size):
            lines, last = lines + piece.count(b"\n"), piece[-1:]
        if last != b"\n":
            raise BadInput(f"{file.url} ends in the middle of a line")
        return lines

    def ids(self, file: Place, size: int) -> Iterator[str]:
        """The ids of all lines."""
        for line in file.get().splitlines():
            try:
                found = json.loads(line)
            except ValueError as exc:
                raise BadInput(f"{file.url} has a line that is not JSON") from exc
            if not isinstance(found, dict):
                raise BadInput(f"{file.url} has a line that is not an object")
            yield str(found.get(ITEM_ID))


class _Lines:
    def __init__(self) -> None:
        self._sink = io.BytesIO()

    @property
    def size(self) -> int:
        return self._sink.tell()

    def add_rows(self, ids: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> Mapping[int, str]:
        bad: dict[int, str] = {}
        for n, (own_id, row) in enumerate(zip(ids, rows, strict=True)):
            try:
                self._sink.write(_line(own_id, row))
            except ValueError as exc:  # not a number
                bad[n] = str(exc)
        return bad

    def add_table(self, ids: Sequence[str], made: pa.Table) -> Mapping[int, str]:
        return self.add_rows(ids, schemas.with_ids_first(made, ids).to_pylist())

    def close(self) -> Any:
        return self._sink.getvalue()


def _line(own_id: str, row: Mapping[str, Cell]) -> bytes:
    cells = {k: _in_json(v) for k, v in row.items() if k != ITEM_ID}
    text = json.dumps(
        {ITEM_ID: own_id, **cells},
        ensure_ascii=False,
        separators=(",", ":"),
        default=_other,
        allow_nan=False,
    )
    return text.encode("utf-8", "backslashreplace") + b"\n"


def _in_json(cell: Cell) -> Any:
    return memoryview(cell.raw).cast("f").tolist() if isinstance(cell, Vector) else cell


def _other(value: Any) -> Any:
    return base64.b64encode(value).decode() if isinstance(value, bytes) else str(value)


def _as_vectors(table: pa.Table) -> pa.Table:
    for number, field in enumerate(table.schema):
        if not (pa.types.is_list(field.type) and pa.types.is_floating(field.type.value_type)):
            continue
        rows = table.column(number).to_pylist()
        lengths = {len(row) for row in rows if row is not None}
        if len(lengths) == 1:
            kind = pa.list_(pa.float32(), lengths.pop())
            table = table.set_column(number, field.name, pa.array(rows, kind))
    return table


def _line_of(exc: Exception) -> str:
    return str(exc).partition("\n")[0]
