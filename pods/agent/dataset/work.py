"""A range in hand: which of its rows are with the handler, and what became of the others."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Union

import pyarrow as pa

from pods.agent.calling import Failed, Outcome
from pods.agent.dataset.columns import ROWS, packed_batch, unpacked_answer
from pods.agent.dataset.parts import Failure
from pods.agent.dataset.rows import Chunk
from pods.agent.protocol import MOST_FAILING
from pods.agent.ranges import DIVIDED, Range
from pods.agent.stream import Entry

# A batch whose process crashed is worked on in so many pieces, and a piece that crashes again in as
# many: each crash costs a load of the handler, and each piece a call.
PIECES = 64


class Slot:
    """Rows that were given to the handler together, in the order of the file."""

    def __init__(self, chunk: Chunk, first: int, after: int) -> None:
        self.ids = list(chunk.ids[first:after])
        self.end = chunk.ends[after - 1]  # the bound after its last row
        self.good: dict[int, bytes] = {}
        self.tables: list[tuple[int, pa.Table]] = []  # of columns: the first row, and its rows
        self.failed: dict[int, Failure] = {}
        self.size = 0  # bytes of results
        rows = chunk.rows
        self.columnar = isinstance(rows, pa.RecordBatch)
        self._rows: Any = rows[first:after]
        for n, why in chunk.bad.items():
            if first <= n < after:
                self.failed[n - first] = Failure(self.ids[n - first], why, "", 0)
        self._left = len(self.ids) - len(self.failed)

    @property
    def complete(self) -> bool:
        """Whether each row has a result or has failed."""
        return not self._left

    def batch(self, numbers: Sequence[int], tries: int) -> "Batch":
        """These rows as a batch for the handler. `tries`: with the one that comes."""
        if self.columnar:
            whole = len(numbers) == self._rows.num_rows
            rows = self._rows if whole else self._rows.take(pa.array(numbers))
            packed = packed_batch(rows)
            entries = [Entry(self.ids[numbers[0]], {ROWS: packed}, 1, len(packed))]
        else:
            entries = [_entry(self.ids[n], self._rows[n]) for n in numbers]
        return Batch(entries, self, numbers, tries)

    def first_batch(self) -> "Batch":
        """All rows that can be worked on."""
        return self.batch([n for n in range(len(self.ids)) if n not in self.failed], 1)

    def forget_rows(self) -> None:
        """No row is tried again: what was read takes no memory while results wait to be written."""
        self._rows = ()

    def keep(self, number: int, result: bytes) -> None:
        """A row of a handler of items has a result."""
        self.good[number] = result
        self.size += len(result)
        self._over(1)

    def keep_table(self, numbers: Sequence[int], made: pa.Table) -> None:
        """Rows of a handler of columns have results."""
        self.tables += [(n, made.slice(at, 1)) for at, n in enumerate(numbers)] if (
            numbers[-1] - numbers[0] >= len(numbers)
        ) else [(numbers[0], made)]  # fmt: skip
        self.size += made.nbytes
        self._over(len(numbers))

    def fail(self, number: int, why: Failed, tries: int) -> None:
        """A row has failed for good."""
        self.failed[number] = Failure(self.ids[number], why.error, why.traceback, tries)
        self._over(1)

    def _over(self, rows: int) -> None:
        self._left -= rows
        if not self._left:
            self._rows = None  # they are not needed any more


class Batch(list[Entry]):
    """Rows of a slot that the handler gets together. Of columns it is one entry."""

    def __init__(
        self, entries: list[Entry], slot: Slot, numbers: Sequence[int], tries: int
    ) -> None:
        super().__init__(entries)
        self.slot, self.numbers, self.tries = slot, numbers, tries
        self.work: Work
        self.sent = 0.0

    def pieces(self) -> list["Batch"]:
        """The batch in pieces, after a crash. Each is the next try of its rows."""
        step = -(-len(self.numbers) // PIECES)
        parts = [self.numbers[n : n + step] for n in range(0, len(self.numbers), step)]
        return [self.again(part) for part in parts]

    def again(self, numbers: Sequence[int]) -> "Batch":
        """Some of its rows, for their next try."""
        made = self.slot.batch(numbers, self.tries + 1)
        made.work = self.work
        return made


class Work:
    """A range in hand. Threads may share it. `flush(work, slot)` gets each finished slot, in order.

    `flush(work, None)` follows once: after the last row, or once nothing more is given to the handler
    and all that was is finished.
    """

    def __init__(
        self,
        entry: Entry,
        of: Range,
        flush: Callable[["Work", Union[Slot, None]], None],
        *,
        most_tries: int,
        last: bool = False,
    ) -> None:
        self.entry, self.range = entry, of
        self._flush, self._most_tries = flush, most_tries
        self.last = last  # no other agent gets it after this try: failed rows are error rows
        self._lock = threading.RLock()
        self._slots: deque[Slot] = deque()
        self.began: Union[float, None] = None  # when its first row was given to the handler
        self.read_to = of.start  # where reading goes on
        self.end = of.start  # the bound after the last row that is finished
        self.fed = self.flushed = 0  # rows
        self.good = self._bad = 0  # rows of the handler
        self.whole = False  # all rows were given to the handler
        self.closing = False  # no more rows are
        self._closed = False
        self.error: Union[Failed, None] = None  # the whole range failed
        self.skipped = False  # rows that were read were not given to the handler
        self.divided = DIVIDED.encode() in entry.fields  # a piece of a range that ended its pods
        self.alone = False  # the agent has nothing else in hand meanwhile
        self.given_up = ""  # why its rows are error rows without a try
        self.shared = False  # its rest is given back in two halves

    @property
    def rows_left(self) -> int:
        """Rows that are not finished: about so many, and at least one."""
        return max(1, self.range.rows - self.flushed)

    def seconds_left(self) -> float:
        """How long the rows that the handler does not have will take; infinite if nobody knows."""
        left = self.range.rows - self.fed
        return left * self.row_seconds() if left > 0 else 0.0

    def row_seconds(self) -> float:
        """How long a row took until now; infinite if nobody knows."""
        if self.began is None or not self.flushed:
            return float("inf")
        return (time.monotonic() - self.began) / self.flushed

    def add(self, slot: Slot) -> bool:
        """These rows come next. False: no more rows of this range are given to the handler."""
        with self._lock:
            if self.closing:
                self.skipped = True
                return False
            self.began = self.began or time.monotonic()
            self._slots.append(slot)
            self.fed += len(slot.ids)
            self._flush_finished()
            return True

    def close(self, *, whole: bool = False, error: Union[Failed, None] = None) -> None:
        """No more rows are given to the handler. `whole`: because there are no more."""
        with self._lock:
            self.closing = True
            self.whole = self.whole or whole
            self.error = self.error or error
            self._flush_finished()

    def share(self) -> None:
        """Finish what the handler has, and give the rest back in halves: other agents are idle."""
        with self._lock:
            self.shared = not self.closing
        self.close()

    def abandon(self) -> None:
        """The handler finishes nothing any more."""
        with self._lock:
            self.closing = True
            self.whole = self.whole and not self._slots
            self._slots.clear()  # also what the handler has finished after an unfinished row
            self._flush_finished()

    def settle(self, batch: Batch, outcomes: Sequence[Outcome]) -> list[Batch]:
        """Take in what became of a batch. Returns the rows that are tried again."""
        slot = batch.slot
        again: list[int] = []
        with self._lock:
            for number, outcome in _by_row(batch, outcomes):
                if not isinstance(outcome, Failed):
                    self.good += outcome
                elif outcome.final or batch.tries >= self._most_tries:
                    slot.fail(number, outcome, batch.tries)
                    self._bad += 1
                else:
                    again.append(number)
            all_fail = not self.good and self._bad >= MOST_FAILING
            if all_fail and not self.last and not self.error:
                self._all_failed(slot)
            if self.error:
                for number in again:
                    slot.fail(number, self.error, batch.tries)
                again = []
            self._flush_finished()
        return [batch.again(again)] if again else []

    def _all_failed(self, slot: Slot) -> None:
        """Another pod gets the whole range: the fault may be in this one."""
        why = next(reversed(slot.failed.values()))  # not a row that the handler never had
        error = f"the first {self._bad} rows all failed: {why.error}"
        self.error, self.closing = Failed(error, why.traceback), True

    def _flush_finished(self) -> None:
        while self._slots and self._slots[0].complete:
            slot = self._slots.popleft()
            self.end = slot.end
            self.flushed += len(slot.ids)
            slot.forget_rows()
            self._flush(self, slot)
        if self.closing and not self._slots and not self._closed:
            self._closed = True
            self._flush(self, None)


def _by_row(batch: Batch, outcomes: Sequence[Outcome]) -> Iterator[tuple[int, Union[int, Failed]]]:
    """For each row that failed why, and how many have results, which their slot keeps."""
    slot = batch.slot
    if not slot.columnar:
        for number, outcome in zip(batch.numbers, outcomes, strict=True):
            if isinstance(outcome, Failed):
                yield number, outcome
            else:
                slot.keep(number, outcome)
                yield number, 1
        return
    [outcome] = outcomes
    if isinstance(outcome, Failed):  # the process has no answer for any of them
        yield from ((number, outcome) for number in batch.numbers)
        return
    answer = unpacked_answer(outcome)
    at = 0
    for first, after in answer.runs:
        slot.keep_table(batch.numbers[first:after], answer.good.slice(at, after - first))
        at += after - first
    yield 0, at
    yield from ((batch.numbers[n], why) for n, why in answer.failed.items())


def _entry(own_id: str, fields: dict[bytes, bytes]) -> Entry:
    return Entry(own_id, fields, 1, sum(map(len, fields.values())))
