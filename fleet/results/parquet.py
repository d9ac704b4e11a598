"""Writes results as a folder of Parquet files, which dataset readers take as one table."""

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from fleet.results.entries import head, value
from pods.base.redis import StreamEntry

STREAM: Final = b"podfleet_stream"
# A result that is an array of numbers (the usual result of an embedding) goes into `numbers`; any
# other result goes into `result`, as its bytes.
SCHEMA: Final = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),
        pa.field("entry", pa.string(), nullable=False),
        pa.field("pod", pa.string(), nullable=False),
        pa.field("at", pa.string(), nullable=False),
        pa.field("numbers", pa.list_(pa.float64())),
        pa.field("result", pa.binary()),
    ]
)


class Parts:
    """A folder of `part-000000.parquet`, …; its size is the number of parts, and each part is whole."""

    rows, volume = 50_000, 64 * 2**20

    def __init__(self, path: Path, stream: str) -> None:
        """Create the folder if it is missing.

        Raises:
            ValueError: the path cannot be a folder, or the folder holds the results of another stream.
        """
        if path.is_file() or not path.parent.is_dir():
            raise ValueError(f"{path}: name a folder for Parquet files, in a folder that exists")
        path.mkdir(exist_ok=True)
        self.path, self._stream = path, stream
        if self._part(0).exists():
            self._check(self._part(0))

    def append(self, rows: Sequence[tuple[bytes, StreamEntry]]) -> int:
        """Write one more part, unless there are no rows."""
        if not rows:
            return 0
        columns: dict[str, list[Any]] = {name: [] for name in SCHEMA.names}
        for item, (entry, fields) in rows:
            for name, text in head(item, entry, fields).items():
                columns[name].append(text)
            numbers = _numbers(value(fields))
            columns["numbers"].append(numbers)
            columns["result"].append(value(fields) if numbers is None else None)
        schema = SCHEMA.with_metadata({STREAM: self._stream.encode()})
        table = pa.table(columns, schema=schema)
        final = self._part(self._count())
        # Dataset readers ignore names that begin with a dot.
        half = self.path / f".{final.name}.half"
        with half.open("wb") as file:
            pq.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        half.rename(final)
        return 1

    def mark(self, size: int) -> bytes | None:
        """A hash of the names and sizes of the first parts."""
        told = hashlib.blake2b(digest_size=16)
        for number in range(size):
            part = self._part(number)
            if not part.exists():
                return None
            told.update(f"{part.name} {part.stat().st_size}\n".encode())
        return told.digest()

    def behind(self, size: int) -> Iterator[tuple[Sequence[bytes], str, int]]:
        """Yield the parts after the first `size`.

        Raises:
            ValueError: an export of this stream did not write one of the parts.
        """
        for number in range(size, self._count()):
            table = self._check(self._part(number))
            ids = table.column("id").to_pylist()
            yield [i.encode() for i in ids], table.column("at")[-1].as_py(), 1

    def cut(self, size: int) -> None:
        """Remove unfinished parts."""
        for half in self.path.glob(".part-*.half"):
            half.unlink()

    def _part(self, number: int) -> Path:
        return self.path / f"part-{number:06}.parquet"

    def _count(self) -> int:
        return sum(1 for _ in self.path.glob("part-*.parquet"))

    def _check(self, part: Path) -> Any:
        try:
            about = pq.read_schema(part).metadata or {}
            if about.get(STREAM) != self._stream.encode():
                theirs = about.get(STREAM, b"something else").decode()
                raise ValueError(
                    f"{self.path} holds the results of {theirs}, not of {self._stream}; "
                    "name another folder"
                )
            return pq.read_table(part, columns=["id", "at"])
        except (pa.ArrowException, OSError) as exc:
            raise ValueError(f"{part}: not written by an export; name another folder") from exc


def _numbers(raw: bytes) -> list[float] | None:
    """The result as float64 numbers; None if it is not an array of numbers."""
    if not raw.lstrip().startswith(b"["):
        return None
    try:
        found = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, list) or any(type(n) not in {int, float} for n in found):
        return None
    try:
        return [float(n) for n in found]
    except OverflowError:
        return None
