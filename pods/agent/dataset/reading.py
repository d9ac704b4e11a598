"""Reads the rows of any range, in chunks of some MB."""

from collections.abc import Iterator

from pods.agent.dataset.lines import chunks_of_lines
from pods.agent.dataset.objects import chunks_of_objects
from pods.agent.dataset.rows import BadInput, Chunk
from pods.agent.dataset.stores import BadUrl, place
from pods.agent.dataset.tables import chunks_of_table
from pods.agent.ranges import Format, Range


def chunks(of: Range, *, columnar: bool) -> Iterator[Chunk]:
    """The rows of the range, in order. `columnar`: as record batches, else as fields of items.

    Raises:
        BadInput: the file is not what the range says.
        StoreError: the file cannot be read.
    """
    try:
        file = place(of.source.url)
    except BadUrl as exc:
        raise BadInput(str(exc)) from exc
    if of.source.format is Format.PARQUET:
        return chunks_of_table(file, of, columnar=columnar)
    if of.source.format is Format.OBJECTS:
        return chunks_of_objects(file, of, columnar=columnar)
    return chunks_of_lines(file, of, columnar=columnar)
