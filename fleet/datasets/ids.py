"""The ids of input rows, and those in parts and errors files."""

from array import array
from collections.abc import Iterable, Iterator

import numpy as np

from fleet.datasets.listing import BadDataset, sink_format, source_format
from fleet.models import DatasetFile
from pods.agent.dataset import stores
from pods.agent.dataset.rows import BadInput
from pods.agent.dataset.stores import Place
from pods.agent.ranges import PartName, Range


def of_input(file: DatasetFile, part: PartName) -> Iterator[str]:
    """The ids of the rows within the bounds of a part, as an agent reads them.

    Raises:
        BadDataset: the input cannot be read.
        StoreError: the store refuses, or does not answer.
    """
    of = Range(file.source, part.start, part.end, rows=1, sink="", id_column=file.id_column)
    try:
        yield from source_format(file.format).ids(stores.place(file.url), of)
    except BadInput as exc:
        raise BadDataset(str(exc)) from exc


def of_file(place: Place, form: str) -> Iterator[str]:
    """The ids in a part or an errors file. Raises as `of_input`."""
    try:
        yield from sink_format(form).ids(place, place.head().size)
    except BadInput as exc:
        raise BadDataset(str(exc)) from exc


class Repeated:
    """Counts rows whose id another row has too. Of each id it keeps 8 bytes, a hash.

    That two different ids have one hash is not to be expected below a billion rows.
    """

    def __init__(self) -> None:
        self._hashes = array("q")

    def heard(self, ids: Iterable[str]) -> Iterator[str]:
        """The same ids, which are counted while they pass."""
        for one in ids:
            self._hashes.append(hash(one))
            yield one

    def count(self) -> int:
        """How many rows have the id of a row before them. No id is heard after this."""
        seen = np.frombuffer(self._hashes, np.int64)
        seen.sort()
        return int(np.count_nonzero(seen[1:] == seen[:-1]))
