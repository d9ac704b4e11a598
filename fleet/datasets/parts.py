"""How many rows the parts of a dataset have, from the files, and the manifest that lists them."""

import io
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from fleet.datasets.listing import BadDataset, sink_format
from fleet.datasets.sinks import Contents, PartFile
from pods.agent.dataset import stores
from pods.agent.dataset.rows import BadInput
from pods.agent.dataset.stores import Place
from pods.agent.ranges import MANIFEST

AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A line of the manifest: one part."""

    part: str
    rows: int  # in the part
    failed: int  # in its errors file
    bytes: int
    etag: str
    input: str  # the URL of the input file
    version: str  # its ETag
    start: int
    end: int | None


@dataclass(frozen=True, slots=True)
class Counted:
    """The rows of a part and of its errors file, as the files say."""

    done: int
    failed: int


SCHEMA: Final = pa.schema(
    [
        ("part", pa.string()),
        ("rows", pa.int64()),
        ("failed", pa.int64()),
        ("bytes", pa.int64()),
        ("etag", pa.string()),
        ("input", pa.string()),
        ("version", pa.string()),
        ("start", pa.int64()),
        ("end", pa.int64()),
    ]
)


def count_parts(
    sink: str, there: Contents, wanted: Iterable[PartFile]
) -> dict[str, Counted | BadDataset]:
    """The rows of these parts, by their names, several at a time; or why one cannot be read.

    Raises:
        StoreError: the store refuses, or does not answer.
    """
    folder = stores.place(sink)
    files = list(wanted)

    def one(file: PartFile) -> Counted | BadDataset:
        name = str(file.part)
        try:
            done = rows_of(folder.at(name), file.part.format, file.size)
            failed = 0
            if errors := file.part.errors_name:
                if name not in there.errors:
                    return BadDataset(f"{name} has no errors file {errors}")
                failed = rows_of(folder.at(errors), file.part.format, there.errors[name])
        except BadDataset as exc:
            return exc
        return Counted(done, failed)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(one, files))
    return {str(file.part): counted for file, counted in zip(files, found, strict=True)}


def rows_of(place: Place, form: str, size: int) -> int:
    """How many rows a part or an errors file has.

    Raises:
        BadDataset: it cannot be read as such a file.
        StoreError: the store refuses, or does not answer.
    """
    try:
        return sink_format(form).count(place, size)
    except BadInput as exc:
        raise BadDataset(str(exc)) from exc


def written(entries: Sequence[Entry]) -> bytes:
    """The manifest as a Parquet file."""
    ordered = sorted(entries, key=lambda e: (e.input, e.start, e.part))
    sink = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([asdict(e) for e in ordered], schema=SCHEMA), sink)
    return sink.getvalue()


def manifest(sink: str) -> list[Entry]:
    """The lines of a sink's manifest.

    Raises:
        BadDataset: it is not one.
        StoreError: it is missing, or the store does not answer.
    """
    place = stores.place(sink).at(MANIFEST)
    raw = place.get()
    names = {field.name for field in fields(Entry)}
    try:
        rows: list[dict[str, Any]] = pq.read_table(pa.BufferReader(raw)).to_pylist()
        return [Entry(**{name: row[name] for name in names}) for row in rows]
    except (pa.ArrowException, OSError, ValueError, KeyError) as exc:
        said = str(exc).partition("\n")[0]
        raise BadDataset(f"{place.url} is not a manifest: {said}") from exc
