"""Reads the rows of any range, in chunks of some MB."""

from collections.abc import Iterator

from pods.agent.dataset.formats import source_format
from pods.agent.dataset.rows import BadInput, Chunk
from pods.agent.dataset.stores import BadUrl, StoreError, place
from pods.agent.ranges import Range


def chunks(of: Range, *, columnar: bool) -> Iterator[Chunk]:
    """The rows of the range, in order. `columnar`: as record batches, else as fields of items.

    Raises:
        BadInput: the file is not what the range says.
        StoreError: the file cannot be read.
        UnknownFormat: this machine has not the format of the file.
    """
    try:
        file = place(of.source.url)
    except BadUrl as exc:
        raise BadInput(str(exc)) from exc
    form = source_format(of.source.format)
    try:
        yield from form.chunks(file, of, columnar=columnar)
    except (BadInput, StoreError):
        raise
    except Exception as exc:
        # the code of a third party may raise anything, and must not end the agent
        said = f"{type(exc).__name__}: {exc}".partition("\n")[0]
        raise BadInput(f"{of.source.url} cannot be read as {of.source.format}: {said}") from exc
