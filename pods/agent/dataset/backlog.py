"""The calls to Redis that only an agent of a dataset makes."""

from typing import NamedTuple, Union

import pyarrow as pa

from pods.agent.dataset import schema as schemas
from pods.agent.ranges import Range, Receipt
from pods.agent.stream import Stream, sendable


class Finished(NamedTuple):
    """What a commit did. `counts`: the receipt that counts; None: it is not known any more."""

    ours: bool
    counts: Union[Receipt, None]


class RangeStream(Stream):
    """A stream whose entries are ranges. Threads may share it."""

    def commit_range(
        self, entry: str, receipt: Receipt, planned: int, rest: Union[Range, None]
    ) -> Finished:
        """Acknowledge a range, publish its receipt, and add its rest to the stream, atomically.

        `planned`: what is added to the planned rows, because they were an estimate.
        """
        settings = self._settings
        keys = [*self._keys, settings.results, self._names.rows]
        args = [*self._who, settings.longest_results, entry, receipt.range, receipt.dumps()]
        args += [receipt.done, receipt.failed, planned]
        if rest is not None:
            for name, value in rest.entry().items():
                args += [name, sendable(str(value))]
        ours, said = self._run("commit_range", keys, args)
        return Finished(bool(ours), _receipt(said))

    def fix_schema(self, schema: Union[pa.Schema, None] = None) -> Union[pa.Schema, None]:
        """The schema that all parts have. Where there is none, this one from now on.

        Raises:
            pa.ArrowException, ValueError: what the hash has is not a schema.
        """
        keys = [self._names.rows, self._keys[1]]
        said = self._run("fix_schema", keys, [b"" if schema is None else schemas.dumped(schema)])
        return schemas.loaded(said) if said else None


def _receipt(said: bytes) -> Union[Receipt, None]:
    try:
        return Receipt.loads(said) if said else None
    except ValueError:
        return None
