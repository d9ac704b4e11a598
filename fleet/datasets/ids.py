"""The ids of input rows, and those in parts and errors files."""

import json
from collections.abc import Iterator
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from fleet.datasets.listing import BadDataset
from fleet.models import DatasetFile
from pods.agent.dataset import lines, reading, stores
from pods.agent.dataset.rows import BadInput
from pods.agent.dataset.stores import Place, StoreError
from pods.agent.protocol import ITEM_ID
from pods.agent.ranges import Format, PartFormat, PartName, Range

ROWS_AT_ONCE: Final = 10_000


def of_input(file: DatasetFile, part: PartName) -> Iterator[str]:
    """The ids of the rows within the bounds of a part, as an agent reads them.

    Raises:
        BadDataset: the input cannot be read.
        StoreError: the store refuses, or does not answer.
    """
    source = file.source
    of = Range(
        source,
        part.start,
        part.end,
        rows=1,
        sink="",
        columns=_column(file),
        id_column=file.id_column,
    )
    try:
        if source.format is Format.OBJECTS:  # without a download of each object
            place = stores.place(source.url)
            for line in lines.lines_of(place, of):
                yield lines.place_of(place, of, line)
            return
        for chunk in reading.chunks(of, columnar=True):
            yield from chunk.ids
    except BadInput as exc:
        raise BadDataset(str(exc)) from exc


def _column(file: DatasetFile) -> tuple[str, ...]:
    """The one column that has to be read; (): nobody knows which."""
    return (file.id_column,) if file.id_column and file.format == Format.PARQUET.value else ()


def of_file(place: Place, form: PartFormat) -> Iterator[str]:
    """The ids in a part or an errors file. Raises as `of_input`."""
    if form is PartFormat.JSONL:
        for line in place.get().splitlines():
            yield str(_object(place, line).get(ITEM_ID))
        return
    try:
        size = place.head().size
        with pq.ParquetFile(place.file(size), pre_buffer=False) as table:
            for batch in table.iter_batches(ROWS_AT_ONCE, columns=[ITEM_ID]):
                yield from map(str, batch.column(0).to_pylist())
    except StoreError:
        raise
    except (pa.ArrowException, OSError, ValueError, IndexError) as exc:
        said = str(exc).partition("\n")[0]
        raise BadDataset(f"{place.url} has no ids that can be read: {said}") from exc


def _object(place: Place, line: bytes) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError as exc:
        raise BadDataset(f"{place.url} has a line that is not JSON") from exc
    if not isinstance(found, dict):
        raise BadDataset(f"{place.url} has a line that is not an object")
    return found
