"""Writes the rows of ranges into parts, beside the handler's work, in bounded memory."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Union

import pyarrow as pa

from pods.agent.dataset import schema as schemas
from pods.agent.dataset.parts import Part, Written
from pods.agent.dataset.values import Cell, unpacked
from pods.agent.dataset.work import Slot, Work
from pods.agent.ranges import PartFormat, Range

log = logging.getLogger("podfleet.agent")

# The first part waits for so many bytes of results before it fixes the schema.
FIRST_BYTES = 4 * 1024 * 1024
# Shares of PODFLEET_RANGE_BYTES: rows that were read and wait, results that wait to be written, and
# parts in memory, of which one alone is at most the last share.
READ_SHARE, RESULTS_SHARE, PARTS_SHARE, PART_SHARE = 1 / 8, 1 / 8, 3 / 4, 1 / 2


class Closed(NamedTuple):
    """The finished rows of a range. `written` is None where nothing is to be committed."""

    work: Work
    done: Union[Range, None]  # the rows of the part
    rest: Union[Range, None]
    written: Union[Written, None]


class Writing:
    """Takes finished rows, makes parts, and hands each to `on_closed`. Threads may share it."""

    def __init__(
        self,
        range_bytes: int,
        fix_schema: Callable[[Union[pa.Schema, None]], Union[pa.Schema, None]],
        on_closed: Callable[[Closed], None],
    ) -> None:
        self._fix_schema, self._on_closed = fix_schema, on_closed
        self._most_results = int(range_bytes * RESULTS_SHARE)
        self._most_parts, self._most_part = (
            int(range_bytes * PARTS_SHARE),
            int(range_bytes * PART_SHARE),
        )
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Work, Union[Slot, None]]] = deque()
        self._bytes = 0
        self._committing = 0  # bytes of parts that are put
        self._ended = False
        self._schema: Union[pa.Schema, None] = None
        self._held: list[Slot] = []
        self._part: Union[Part, None] = None

    def put(self, work: Work, slot: Union[Slot, None]) -> None:
        """Rows of a range are finished; None: there are no more."""
        with self._changed:
            self._waiting.append((work, slot))
            self._bytes += slot.size if slot is not None else 0
            self._changed.notify_all()

    @property
    def full(self) -> bool:
        """Whether results wait for the writer."""
        return self._bytes > self._most_results

    def wait(self) -> None:
        """Return when there is room for more results."""
        with self._changed:
            self._changed.wait_for(lambda: not self.full or self._ended)

    def end(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def committed(self, written: Written) -> None:
        """A part is put, and its memory is free."""
        with self._changed:
            self._committing -= len(written.part)
            self._changed.notify_all()

    @property
    def size(self) -> int:
        """Bytes of results in memory."""
        part = self._part
        return self._bytes + self._committing + (part.size if part is not None else 0)

    def run(self) -> None:
        """Write until the process ends."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: bool(self._waiting))
                work, slot = self._waiting.popleft()
            if slot is None:
                self._close(work)
                continue
            if work.error is None:
                self._add(work, slot)
            with self._changed:
                self._bytes -= slot.size
                self._changed.notify_all()

    def _add(self, work: Work, slot: Slot) -> None:
        self._held.append(slot)
        if self._part is None:
            if self._schema is None and sum(s.size for s in self._held) < FIRST_BYTES:
                return
            self._part = Part(work.range.part_format, self._schema_for(work))
        self._write_held()
        self._wait_for_commits()
        if self._part.size >= self._most_part:
            log.info("range_cut range=%s bytes=%d", work.range.id, self._part.size)
            work.close()

    def _wait_for_commits(self) -> None:
        with self._changed:
            self._changed.wait_for(
                lambda: not self._committing or self._ended or self._fits(self._part)
            )

    def _fits(self, part: Union[Part, None]) -> bool:
        return self._committing + (0 if part is None else part.size) <= self._most_parts

    def _schema_for(self, work: Work) -> pa.Schema:
        """The schema of all parts; if these rows are the first ones, the one that they ask for."""
        if work.range.part_format is PartFormat.JSONL:
            return schemas.NOTHING_BUT_IDS
        if self._schema is None:
            self._schema = self._fix_schema(_wanted(self._held))
        return self._schema or schemas.NOTHING_BUT_IDS

    def _write_held(self) -> None:
        part = self._part
        assert part is not None
        for slot in self._held:
            for first, made in sorted(slot.tables, key=lambda found: found[0]):
                part.add_table(slot.ids[first : first + made.num_rows], made, 1)
            if slot.good:
                numbers = sorted(slot.good)
                cells = [unpacked(slot.good[n]) for n in numbers]
                part.add_rows([slot.ids[n] for n in numbers], cells, 1)
            for _, failure in sorted(slot.failed.items()):
                part.fail(failure)
        self._held = []

    def _close(self, work: Work) -> None:
        """The part of a range is complete. Without a finished row there is none."""
        if work.error is not None or not (work.flushed or work.whole):
            self._held, self._part = [], None
            self._on_closed(Closed(work, None, None, None))
            return
        if self._part is None:
            self._part = Part(work.range.part_format, self._schema_for(work))
        self._write_held()
        written, self._part = self._part.close(), None
        rows = written.done + len(written.failed)
        done, rest = work.range, None
        if not work.whole and work.end != work.range.end:
            done = work.range.until(work.end, rows)
            rest = work.range.rest(work.end, max(1, work.range.rows - rows))
        with self._changed:
            self._committing += len(written.part)
        self._on_closed(Closed(work, done, rest, written))


def _wanted(slots: Sequence[Slot]) -> Union[pa.Schema, None]:
    """The schema that these results ask for. None: they have none."""
    tables = [made for slot in slots for _, made in slot.tables]
    if tables:
        return schemas.with_ids_first(tables[0].slice(0, 0), []).schema
    cells: list[dict[str, Cell]] = [
        unpacked(slot.good[n]) for slot in slots for n in sorted(slot.good)
    ]
    return schemas.schema_of(cells) if cells else None
