"""Reads the rows of a range of a Parquet file: only its row groups and columns."""

from collections.abc import Iterator

import pyarrow as pa
import pyarrow.parquet as pq

from pods.agent.dataset.rows import (
    CHUNK_BYTES,
    CHUNK_ROWS,
    BadInput,
    Chunk,
    chunks_of,
    columns_of,
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
    wanted = columns_of(of, names, id_column)
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
            yield from chunks_of(batch, first, file, of, columnar=columnar)
            first += batch.num_rows


def _batches(
    table: pq.ParquetFile, group: int, rows: int, wanted: list[str], size: int
) -> Iterator[pa.RecordBatch]:
    if size <= LARGEST_GROUP_BYTES:
        # one decode of the whole group is faster than many of some rows
        found = table.read_row_group(group, columns=wanted)
        return iter(found.combine_chunks().to_batches(max_chunksize=rows))
    batches: Iterator[pa.RecordBatch] = table.iter_batches(rows, row_groups=[group], columns=wanted)
    return batches
