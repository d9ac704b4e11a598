"""Reads Parquet files; each row is an item."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from fleet.items.files import known_as, refuse_folder
from fleet.items.rows import item_of, payload_column, unused_columns
from fleet.items.source import BadInput, BadItem, Fields, LeftOut, Position

SUFFIX: Final = ".parquet"
ROWS_AT_ONCE: Final = 1_000
FOOTER_END: Final = 8  # the last bytes of a file: the footer's length, and PAR1


class ItemTable:
    """One Parquet file; reading continues where a former reader ended. Offsets count rows."""

    def __init__(self, path: Path) -> None:
        """`name` is the beginning of the ids of items that have no id of their own.

        Raises:
            BadInput: the file is missing, or not a Parquet file.
        """
        self.path, self.name, self._row, self._items = path, path.name, 0, 0
        self.left_out: LeftOut | None = None
        self.label, self.known_as = str(path), known_as(path)
        refuse_folder(path)
        try:
            with pq.ParquetFile(path) as table:
                self._rows: int = table.metadata.num_rows
                names = table.schema_arrow.names
                self._digest = _digest(path, table.metadata)
        except FileNotFoundError as exc:
            raise BadInput(f"{path}: no such file") from exc
        except (pa.ArrowException, OSError) as exc:
            raise BadInput(f"{path} is not a Parquet file: {exc}") from exc
        self._payload = payload_column(names, where=str(path))
        self.unused = unused_columns(names, self._payload)

    @property
    def position(self) -> Position:
        """The end of the last row that was read."""
        return Position(offset=self._row, lines=self._row, items=self._items, digest=self._digest)

    def go_to(self, position: Position) -> bool:
        """Continue at `position`; return False, at the start, if the file has changed."""
        if position.offset and position.digest != self._digest:
            return False
        self._row, self._items = position.offset, position.items
        return True

    def check(self) -> None:
        """Read the rows that are left; `position` stays the same.

        Raises:
            BadInput: a row is not an item, and bad items are not left out.
        """
        if self.left_out is not None:
            return
        before = self._row, self._items
        for _ in self:
            pass
        self._row, self._items = before

    def count_left(self) -> int:
        """How many items are left."""
        return self._rows - self._row

    def __iter__(self) -> Iterator[Fields]:
        """Yield the items that are left. `position` moves with each."""
        try:
            with pq.ParquetFile(self.path) as table:
                for batch in table.iter_batches(ROWS_AT_ONCE, row_groups=self._groups(table)):
                    for row in self._rows_of(batch)[max(0, self._row - self._seen) :]:
                        self._row += 1
                        item = self._item(row)
                        if item is not None:
                            self._items += 1
                            yield item
                    self._seen += batch.num_rows
        except (pa.ArrowException, OSError) as exc:
            raise BadInput(f"{self.path}:{self._row + 1}: {exc}") from exc

    def _rows_of(self, batch: pa.RecordBatch) -> list[dict[str, Any]]:
        try:
            rows: list[dict[str, Any]] = batch.to_pylist()
        except (ValueError, OverflowError) as exc:  # text that is not UTF-8, a year after 9999
            last = self._seen + batch.num_rows
            raise BadInput(f"{self.path}, in rows {self._seen + 1:,} to {last:,}: {exc}") from exc
        return rows

    def _groups(self, table: pq.ParquetFile) -> list[int]:
        """The row groups that hold the rows that are left; sets `_seen` to the rows before them."""
        self._seen = first = 0
        while first < table.num_row_groups:
            rows = table.metadata.row_group(first).num_rows
            if self._seen + rows > self._row:
                break
            self._seen += rows
            first += 1
        return list(range(first, table.num_row_groups))

    def _item(self, row: dict[str, Any]) -> Fields | None:
        """The item of a row; None if the row is bad and was left out."""
        own_id = f"{self.name}:{self._row}".encode("utf-8", "surrogateescape")
        where = f"{self.path}:{self._row}"
        try:
            return item_of(row, payload=self._payload, own_id=own_id, where=where)
        except BadItem as exc:
            if self.left_out is None:
                raise
            self.left_out.add(exc)
            return None


def _digest(path: Path, metadata: pq.FileMetaData) -> str:
    """A digest of what describes the column chunks: places, sizes, statistics."""
    try:
        footer = repr(metadata.to_dict()).encode()
    except (ValueError, OverflowError):  # statistics that Python cannot represent
        with path.open("rb") as file:
            file.seek(-FOOTER_END, os.SEEK_END)
            length = int.from_bytes(file.read(4), "little")
            file.seek(-FOOTER_END - length, os.SEEK_END)
            footer = file.read(length)
    size = str(path.stat().st_size).encode()
    return hashlib.blake2b(footer + size, digest_size=16).hexdigest()
