"""Calls a handler that takes and returns record batches. It runs in the handler's process."""

import marshal
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

import pyarrow as pa

from pods.agent import gpu_memory
from pods.agent.calling import Caller, Failed, Outcome, TooLarge
from pods.agent.handlers import Item
from pods.agent.ring import ALIGNED_BYTES

ROWS = b"rows"  # the field of the one item that stands for a batch
DEFAULT_ROWS = 4096  # in a batch, where the handler has no `batch_size`
HEADER = struct.Struct("!Q56x")  # the length of the head; as long as what it is aligned to


class Answer(NamedTuple):
    """What became of the rows of a batch: the good ones in order, and why the others failed."""

    good: pa.Table
    runs: Sequence[tuple[int, int]]  # the good rows: first, after
    failed: dict[int, Failed]


def packed_batch(batch: pa.RecordBatch) -> bytes:
    """A record batch as the bytes that go to the handler's process."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    raw: bytes = sink.getvalue().to_pybytes()
    return raw


def unpacked_answer(raw: bytes) -> Answer:
    """What the handler's process answered for a batch."""
    size = HEADER.unpack_from(raw)[0]
    after = HEADER.size + size
    runs, failed = marshal.loads(memoryview(raw)[HEADER.size : after])  # noqa: S302 - our own process
    good = pa.ipc.open_stream(pa.py_buffer(raw).slice(after)).read_all() if runs else None
    return Answer(good, runs, {n: Failed(*why) for n, why in failed})


class Packed:
    """An answer that `unpacked_answer` reads. Its bytes are made when it is known where they go."""

    def __init__(self, head: bytes, pieces: Sequence[pa.RecordBatch]) -> None:
        # the values begin where Arrow expects them
        self._head, self._pieces = (
            head.ljust(-(-len(head) // ALIGNED_BYTES) * ALIGNED_BYTES),
            pieces,
        )
        counted = pa.MockOutputStream()
        self._write(counted)
        self.size = int(counted.size())

    def write(self, into: memoryview) -> None:
        """Write it into a buffer of its size."""
        self._write(pa.FixedSizeBufferWriter(pa.py_buffer(into)))

    def packed(self) -> memoryview:
        """The answer in a buffer of the right size: answers are large, and copies cost."""
        into = memoryview(pa.allocate_buffer(self.size))
        self.write(into)
        return into

    def _write(self, sink: Any) -> None:
        sink.write(HEADER.pack(len(self._head)) + self._head)
        if self._pieces:
            with pa.ipc.new_stream(sink, self._pieces[0].schema) as stream:
                for piece in self._pieces:
                    stream.write_batch(piece)


class ColumnsCaller(Caller):
    """Calls one handler of columns. A bad row does not harm the others of its batch."""

    calls_ahead = 1  # the rows of a record batch stay together

    @property
    def batch_size(self) -> int:
        """The most rows in a call."""
        return super().batch_size or DEFAULT_ROWS

    def __call__(self, batch: Sequence[Item]) -> list[Outcome]:
        """The answer for each of the items, which are batches."""
        return [self._answered(item.fields[ROWS]) for item in batch]

    def _answered(self, raw: bytes) -> Outcome:
        rows = pa.ipc.open_stream(pa.py_buffer(raw)).read_next_batch()
        pieces: list[tuple[int, pa.RecordBatch]] = []
        failed: dict[int, Failed] = {}
        first = 0
        while first < rows.num_rows:
            part = rows.slice(first, self._fits.limits.items or rows.num_rows)
            before = len(pieces), dict(failed)
            try:
                self._bisect(part, first, pieces, failed)
            except TooLarge:
                del pieces[before[0] :]
                failed = before[1]
            else:
                first += part.num_rows
                if len(failed) == len(before[1]):
                    self._learn(self._fits.fitted(part.num_rows, 0.0))
                continue
            self._take_less([0.0] * part.num_rows)
        runs = [(first, first + piece.num_rows) for first, piece in pieces]
        told = [(n, (why.error, why.traceback, why.final)) for n, why in failed.items()]
        said: Any = Packed(marshal.dumps((runs, told)), [piece for _, piece in pieces])
        return said  # type: ignore[no-any-return]

    def _bisect(
        self,
        rows: pa.RecordBatch,
        first: int,
        pieces: list[tuple[int, pa.RecordBatch]],
        failed: dict[int, Failed],
    ) -> None:
        try:
            made = self._made(rows, pieces)
        except Exception as exc:  # noqa: BLE001 - the user's code may raise anything; it is recorded
            if rows.num_rows == 1:
                failed[first] = Failed.of(exc)
                return
            too_large = gpu_memory.is_out_of_memory(exc)
        else:
            pieces.append((first, made))
            return
        if too_large:  # outside the block above: its error keeps tensors in memory
            raise TooLarge
        middle = rows.num_rows // 2
        self._bisect(rows.slice(0, middle), first, pieces, failed)
        self._bisect(rows.slice(middle), first + middle, pieces, failed)

    def _made(
        self, rows: pa.RecordBatch, pieces: list[tuple[int, pa.RecordBatch]]
    ) -> pa.RecordBatch:
        made = self._settle(self._handler(rows))
        if isinstance(made, pa.Table):
            made = made.combine_chunks()
            made = pa.RecordBatch.from_arrays(
                [column.combine_chunks() for column in made.columns], schema=made.schema
            )
        if not isinstance(made, pa.RecordBatch):
            raise TypeError(f"the handler returned {type(made).__name__}, not a RecordBatch")
        if made.num_rows != rows.num_rows:
            raise ValueError(f"the handler returned {made.num_rows} rows for {rows.num_rows} rows")
        for field in made.schema:
            if _has_empty_lists(field.type):
                raise TypeError(
                    f"the column {field.name!r} is {field.type}, which no file can hold"
                )
        if pieces and made.schema != pieces[0][1].schema:
            raise TypeError("the handler returned columns that differ from those of other rows")
        return made


def _has_empty_lists(kind: pa.DataType) -> bool:
    """Whether a type has lists of the fixed length 0: Parquet writes them, and cannot read them."""
    if pa.types.is_fixed_size_list(kind) and kind.list_size == 0:
        return True
    return any(_has_empty_lists(kind.field(n).type) for n in range(kind.num_fields))
