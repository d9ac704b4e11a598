"""Reads the rows of a range of a Parquet file: only its row groups and columns."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pods.agent.dataset.rows import (
    CHUNK_BYTES,
    CHUNK_ROWS,
    BadInput,
    Chunk,
    ids_of,
    items_of,
    with_ids,
)
from pods.agent.dataset.stores import Place, StoreError
from pods.agent.protocol import ITEM_ID
from pods.agent.ranges import Range

# The columns of a row group are asked for together, unless that would be more memory than this.
LARGEST_GROUP_BYTES = 64 * 1024 * 1024


def chunks_of_table(file: Place, of: Range, *, columnar: bool) -> Iterator[Chunk]:
    """The rows of the range.

    Raises:
        BadInput: it is not a Parquet file, or a column is missing.
        StoreError: the file cannot be read.
    """
    try:
        table = pq.ParquetFile(file.file(of.source.size, of.source.etag), pre_buffer=True)
        yield from _chunks(table, file, of, columnar)
    except StoreError:
        raise
    except (pa.ArrowException, OSError, ValueError, OverflowError) as exc:
        why = str(exc).partition("\n")[0]
        raise BadInput(f"{of.source.url} cannot be read as Parquet: {why}") from exc


def _chunks(table: pq.ParquetFile, file: Place, of: Range, columnar: bool) -> Iterator[Chunk]:
    names = table.schema_arrow.names
    id_column = of.id_column or (ITEM_ID if ITEM_ID in names else "")
    wanted = [*(of.columns or names)]
    if id_column and id_column not in wanted:
        wanted.insert(0, id_column)
    if missing := [name for name in wanted if name not in names]:
        raise BadInput(
            f"{of.source.url} has no column {missing[0]!r}; it has {', '.join(names) or 'none'}"
        )
    end = table.metadata.num_rows if of.end is None else of.end
    if end > table.metadata.num_rows:
        raise BadInput(f"{of.source.url} has {table.metadata.num_rows} rows, and {end} are wanted")
    before = 0
    for group in range(table.num_row_groups):
        about = table.metadata.row_group(group)
        first, after = before, before + about.num_rows
        before = after
        if after <= of.start or first >= end:
            continue
        row_bytes = max(1, about.total_byte_size // max(1, about.num_rows))
        rows = max(1, min(CHUNK_ROWS, CHUNK_BYTES // row_bytes))
        for batch in _batches(table, group, rows, wanted, about.total_byte_size):
            skip, keep = max(0, of.start - first), min(batch.num_rows, end - first)
            numbers = range(first + skip, first + keep)
            first += batch.num_rows
            if skip >= keep:
                continue
            part = batch.slice(skip, keep - skip)
            column = part.column(id_column) if id_column else None
            ids = ids_of(column, f"{file.key}:", numbers)
            made = with_ids(part, ids, id_column) if columnar else items_of(part, ids, id_column)
            yield Chunk(ids, range(numbers.start + 1, numbers.stop + 1), made, part.nbytes)


def _batches(
    table: pq.ParquetFile, group: int, rows: int, wanted: list[str], size: int
) -> Iterator[pa.RecordBatch]:
    if size <= LARGEST_GROUP_BYTES:
        # one decode of the whole group is faster than many of some rows
        found = table.read_row_group(group, columns=wanted)
        return iter(found.combine_chunks().to_batches(max_chunksize=rows))
    batches: Iterator[pa.RecordBatch] = table.iter_batches(rows, row_groups=[group], columns=wanted)
    return batches
