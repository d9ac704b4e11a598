"""Counts the rows of input files: from footers of Parquet files, from samples of files of lines."""

import json
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from fleet.datasets.cutting import CountedFile
from fleet.datasets.listing import BadDataset
from pods.agent.dataset import stores
from pods.agent.dataset.stores import Place, StoreError
from pods.agent.ranges import Compression, Format, Source

# Files that are looked at at once. Each needs two round trips and little memory.
AT_ONCE: Final = 8
SAMPLE_BYTES: Final = 512 * 1024
PIECE_BYTES: Final = 64 * 1024
MOST_PIECES: Final = 64  # so no file unpacks to more than 4 MiB here
SAMPLED_LINES: Final = 100
SHOWN_ROWS: Final = 3
LONGEST_SHOWN: Final = 200  # characters of a value
NAMED: Final = 20  # columns in a message


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What the rows must have."""

    columns: Sequence[str] = ()  # (): all
    id_column: str = ""

    @property
    def names(self) -> Sequence[str]:
        """All columns that must be there."""
        return tuple(dict.fromkeys([*self.columns, *([self.id_column] if self.id_column else [])]))


def count(
    files: Sequence[Source], wanted: Wanted, *, told: Callable[[CountedFile], None]
) -> list[CountedFile]:
    """How many rows each file has, several files at a time. `told` hears of each file.

    Raises:
        BadDataset: a file cannot be read, or has not the columns; the message names it.
        StoreError: a store refuses, or does not answer.
    """
    counted: list[CountedFile] = []
    with ThreadPoolExecutor(AT_ONCE) as pool:
        tasks = [pool.submit(count_one, source, wanted) for source in files]
        try:
            for task in tasks:
                counted.append(task.result())
                told(counted[-1])
        finally:
            pool.shutdown(cancel_futures=True)
    return counted


def count_one(source: Source, wanted: Wanted) -> CountedFile:
    """How many rows one file has. Raises as `count`."""
    place = stores.place(source.url)
    if source.format is Format.PARQUET:
        return _parquet(place, source, wanted)
    if source.format is Format.OBJECTS and source.compression is Compression.NONE:
        return CountedFile(source=source, rows=_lines_of(place, source))
    lines, of_bytes = _sample(place, source)
    if source.format is Format.JSONL:
        _check_objects(source, lines, wanted)
    elif wanted.names:
        raise BadDataset(f"{source.url} has lines of text, and no column {wanted.names[0]}")
    rows = round(source.size * len(lines) / of_bytes) if lines and of_bytes else 0
    return CountedFile(source=source, rows=max(rows, len(lines[:1])))


def first_rows(files: Sequence[CountedFile], wanted: Wanted) -> list[dict[str, Any] | str]:
    """The first rows of the first file that has one, for people. Raises as `count`."""
    file = next((f for f in files if f.rows), None)
    if file is None:
        return []
    source, place = file.source, stores.place(file.source.url)
    if source.format is not Format.PARQUET:
        lines, _ = _sample(place, source)
        return [line.decode("utf-8", "replace")[:LONGEST_SHOWN] for line in lines[:SHOWN_ROWS]]
    with _opened(place, source) as table:
        columns = list(wanted.names) if wanted.columns else None
        batch = next(table.iter_batches(SHOWN_ROWS, columns=columns), None)
        rows: list[dict[str, Any]] = [] if batch is None else _plain(batch)
    return [{name: _shown(value) for name, value in row.items()} for row in rows]


def _plain(batch: Any) -> list[dict[str, Any]]:
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
    except (ValueError, OverflowError):  # text that is not UTF-8, a year after 9999
        return []
    return rows


def _shown(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    return str(value)[:LONGEST_SHOWN]


def _opened(place: Place, source: Source) -> Any:
    return pq.ParquetFile(place.file(source.size, source.etag), pre_buffer=False)


def _parquet(place: Place, source: Source, wanted: Wanted) -> CountedFile:
    try:
        with _opened(place, source) as table:
            about = table.metadata
            names = set(table.schema_arrow.names)
            groups = [about.row_group(n).num_rows for n in range(about.num_row_groups)]
    except StoreError:
        raise
    except (pa.ArrowException, OSError, ValueError) as exc:
        said = str(exc).partition("\n")[0]
        raise BadDataset(f"{source.url} is not a Parquet file: {said}") from exc
    _check_columns(source, names, wanted)
    return CountedFile(source=source, rows=sum(groups), groups=groups)


def _check_columns(source: Source, names: Iterable[str], wanted: Wanted) -> None:
    there = sorted(names)
    if lacking := [name for name in wanted.names if name not in set(there)]:
        more = ", …" if len(there) > NAMED else ""
        raise BadDataset(
            f"{source.url} has no column {', '.join(lacking)}; it has: "
            f"{', '.join(there[:NAMED]) or 'none'}{more}"
        )


def _check_objects(source: Source, lines: Sequence[bytes], wanted: Wanted) -> None:
    names: set[str] = set()
    for number, line in enumerate(lines[:SAMPLED_LINES], start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as exc:
            raise BadDataset(f"{source.url}: line {number} is not JSON: {exc}") from exc
        if not isinstance(row, dict):
            raise BadDataset(f"{source.url}: line {number} is not a JSON object")
        names.update(row)
    if names:
        _check_columns(source, names, wanted)


def _sample(place: Place, source: Source) -> tuple[list[bytes], int]:
    """The whole lines at the beginning of a file, and how many bytes of the file they take."""
    raw = place.range(0, min(source.size, SAMPLE_BYTES), source.etag) if source.size else b""
    everything = len(raw) == source.size
    text, taken = raw, len(raw)
    if source.compression.value:
        text, taken, everything = _unpacked(source, raw, everything)
    lines = text.splitlines() if everything else text.split(b"\n")[:-1]
    if not lines and text:
        lines = [text]  # a line longer than the sample
    if not source.compression.value and not everything:
        taken = sum(len(line) + 1 for line in lines)
    return lines, taken


def _unpacked(source: Source, raw: bytes, everything: bool) -> tuple[bytes, int, bool]:
    """What the beginning of a file unpacks to, of how many bytes, and whether that is all of it."""
    pieces: list[bytes] = []
    packed = pa.BufferReader(raw)
    try:
        with pa.CompressedInputStream(packed, source.compression.value) as stream:
            while len(pieces) < MOST_PIECES and (piece := stream.read(PIECE_BYTES)):
                pieces.append(piece)
            taken = packed.tell()
            everything = everything and len(pieces) < MOST_PIECES
    except (pa.ArrowException, OSError) as exc:
        if not pieces or everything:
            name = source.compression.value
            raise BadDataset(f"{source.url} cannot be unpacked as {name}: {exc}") from exc
        taken = len(raw)  # it ends in the middle of a block
    return b"".join(pieces), taken, everything


def _lines_of(place: Place, source: Source) -> int:
    """How many lines a file has; reads all of it, a piece at a time."""
    lines, last = 0, b"\n"
    for piece in place.pieces(0, source.size, source.etag):
        lines, last = lines + piece.count(b"\n"), piece[-1:] or last
    return lines + (last != b"\n")
