"""Reads Parquet files as items: a row each."""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from fleet.item_files import BadInput, Fields, Position
from pods.agent.protocol import ITEM_ID, ITEM_PAYLOAD, ITEM_REPLY_TO

SUFFIX: Final = ".parquet"
ROWS_AT_ONCE: Final = 1_000
PAYLOADS: Final = (ITEM_PAYLOAD, "text")


class ItemTable:
    """One Parquet file, read from where a former reader ended; its offsets are rows."""

    def __init__(self, path: Path) -> None:
        """What an item's id begins with that has none of its own is `name`.

        Raises:
            BadInput: it is missing, or no Parquet file.
        """
        self.path, self.name, self._row = path, path.name, 0
        try:
            with pq.ParquetFile(path) as table:
                self._rows: int = table.metadata.num_rows
                names = set(table.schema_arrow.names)
                footer = repr(table.metadata.to_dict()) + str(path.stat().st_size)
        except FileNotFoundError as exc:
            raise BadInput(f"{path}: no such file") from exc
        except (pa.ArrowException, OSError) as exc:
            raise BadInput(f"{path} is no Parquet file: {exc}") from exc
        # of what describes every column chunk: places, sizes, statistics
        self._digest = hashlib.blake2b(footer.encode(), digest_size=16).hexdigest()
        self._payload = next((name for name in PAYLOADS if name in names), None)

    @property
    def position(self) -> Position:
        """The end of the last row that was read."""
        return Position(offset=self._row, lines=self._row, items=self._row, digest=self._digest)

    def go_to(self, position: Position) -> bool:
        """Go on from there; False, and the beginning, where it is another file now."""
        if position.offset and position.digest != self._digest:
            return False
        self._row = position.offset
        return True

    def check(self) -> None:
        """Read what is left, and come back.

        Raises:
            BadInput: a row is no item.
        """
        before = self._row
        for _ in self:
            pass
        self._row = before

    def count_left(self) -> int:
        """How many items are left."""
        return self._rows - self._row

    def __iter__(self) -> Iterator[Fields]:
        """The items that are left. `position` moves with each."""
        try:
            with pq.ParquetFile(self.path) as table:
                for batch in table.iter_batches(ROWS_AT_ONCE, row_groups=self._groups(table)):
                    for row in batch.to_pylist()[max(0, self._row - self._seen) :]:
                        self._row += 1
                        yield self._item(row)
                    self._seen += batch.num_rows
        except (pa.ArrowException, OSError) as exc:
            raise BadInput(f"{self.path}:{self._row + 1}: {exc}") from exc

    def _groups(self, table: pq.ParquetFile) -> list[int]:
        """The row groups that hold what is left; `_seen` are the rows before them."""
        self._seen = first = 0
        while first < table.num_row_groups:
            rows = table.metadata.row_group(first).num_rows
            if self._seen + rows > self._row:
                break
            self._seen += rows
            first += 1
        return list(range(first, table.num_row_groups))

    def _item(self, row: dict[str, Any]) -> Fields:
        own_id = f"{self.name}:{self._row}".encode("utf-8", "surrogateescape")
        value = None if self._payload is None else row[self._payload]
        fields = {
            ITEM_ID: self._bytes(ITEM_ID, row.get(ITEM_ID)) or own_id,
            ITEM_PAYLOAD: self._bytes(ITEM_PAYLOAD, row if value is None else value),
        }
        reply_to = self._bytes(ITEM_REPLY_TO, row.get(ITEM_REPLY_TO))
        return {**fields, ITEM_REPLY_TO: reply_to} if reply_to else fields

    def _bytes(self, column: str, value: object) -> bytes:
        if value is None:
            return b""
        if isinstance(value, bytes):
            return value
        if isinstance(value, str):
            return value.encode()
        try:
            return json.dumps(value, ensure_ascii=False, default=str).encode()
        except (TypeError, ValueError) as exc:
            raise BadInput(f"{self.path}:{self._row}: {column} is no JSON: {exc}") from exc
