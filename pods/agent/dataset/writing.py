"""Writes the rows of ranges into parts, beside the handler's work, in bounded memory."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple, Union

import pyarrow as pa

from pods.agent.dataset import schema as schemas
from pods.agent.dataset.formats import sink_format, source_format
from pods.agent.dataset.parts import Part, Written
from pods.agent.dataset.sinks import GROUP_BYTES
from pods.agent.dataset.values import Cell, unpacked
from pods.agent.dataset.work import Slot, Work
from pods.agent.ranges import Range, Unit

log = logging.getLogger("podfleet.agent")

# The first part waits for so many bytes of results before it fixes the schema.
FIRST_BYTES = 4 * 1024 * 1024
# Shares of PODFLEET_RANGE_BYTES: rows that were read and wait, results that wait to be written, and
# parts in memory, of which one alone is at most the next share. The last one is memory of a part that
# was put, which the next part takes.
READ_SHARE, RESULTS_SHARE, PARTS_SHARE, PART_SHARE = 1 / 8, 1 / 8, 9 / 16, 1 / 2
SPARE_SHARE = 1 / 8


def group_bytes(range_bytes: int) -> int:
    """Bytes of results that wait for a row group of a part, which is in memory twice meanwhile."""
    return min(GROUP_BYTES, int(range_bytes * PART_SHARE) // 8)


def ring_bytes(range_bytes: int) -> int:
    """Bytes of results that the handler's process leaves in memory which the writer reads."""
    return int(range_bytes * RESULTS_SHARE) + group_bytes(range_bytes)


def spare_bytes(range_bytes: int) -> int:
    """Bytes of a part that was put, which are kept for the next one."""
    return int(range_bytes * SPARE_SHARE)


class Closed(NamedTuple):
    """The finished rows of a range. `written` is None where nothing is to be committed."""

    work: Work
    done: Union[Range, None]  # the rows of the part
    rest: Sequence[Range]  # no or one range; two where other agents have nothing to do
    written: Union[Written, None]


class Draft:
    """What is written of one range until now."""

    def __init__(self) -> None:
        self.held: list[Slot] = []  # until the schema is known
        self.part: Union[Part, None] = None


def _unit_of(of: Range) -> Unit:
    return source_format(of.source.format).unit(of.source)


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
        self._group_bytes = group_bytes(range_bytes)
        self._first_bytes = min(FIRST_BYTES, self._most_part // 4)
        self._changed = threading.Condition()
        self._waiting: deque[tuple[Work, Union[Slot, None]]] = deque()
        self._bytes = 0
        self._committing = 0  # bytes of parts that are put
        self._ended = False
        self._schema: Union[pa.Schema, None] = None
        # more than one: a row of a range may be tried again while the next range is worked on
        self._drafts: dict[int, Draft] = {}

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
            del work, slot  # they take no memory while the next one is awaited

    def _add(self, work: Work, slot: Slot) -> None:
        draft = self._drafts.setdefault(id(work), Draft())
        draft.held.append(slot)
        if draft.part is None:
            if self._schema is None and sum(s.size for s in draft.held) < self._first_bytes:
                return
            draft.part = self._part(work, draft)
        _write_held(draft, draft.part)
        self._wait_for_commits()
        if draft.part.size >= self._most_part and not work.closing:
            log.info("range_cut range=%s bytes=%d", work.range.id, draft.part.size)
            work.close()

    def _wait_for_commits(self) -> None:
        drafts = sum(d.part.size for d in self._drafts.values() if d.part is not None)
        with self._changed:
            self._changed.wait_for(
                lambda: (
                    not self._committing
                    or self._ended
                    or self._committing + drafts <= self._most_parts
                )
            )

    def _part(self, work: Work, draft: Draft) -> Part:
        schema = self._schema_for(work, draft)
        return Part(work.range.part_format, schema, group_bytes=self._group_bytes)

    def _schema_for(self, work: Work, draft: Draft) -> pa.Schema:
        """The schema of all parts; if these rows are the first ones, the one that they ask for."""
        if not sink_format(work.range.part_format).has_schema:
            return schemas.NOTHING_BUT_IDS
        if self._schema is None:
            self._schema = self._fix_schema(_wanted(draft.held))
        return self._schema or schemas.NOTHING_BUT_IDS

    def _close(self, work: Work) -> None:
        """The part of a range is complete. Without a finished row there is none."""
        draft = self._drafts.pop(id(work), None) or Draft()
        if work.error is not None or not (work.flushed or work.whole):
            self._on_closed(Closed(work, None, (), None))
            return
        part = draft.part or self._part(work, draft)
        _write_held(draft, part)
        written = part.close()
        rows = written.done + len(written.failed)
        done: Range = work.range
        rest: Sequence[Range] = ()
        if not work.whole and work.end != work.range.end:
            done = work.range.until(work.end, rows)
            left = work.range.rest(work.end, max(1, work.range.rows - rows))
            rest = left.halves(_unit_of(left)) if work.shared else [left]
        with self._changed:
            self._committing += len(written.part)
        self._on_closed(Closed(work, done, rest, written))


def _write_held(draft: Draft, part: Part) -> None:
    for slot in draft.held:
        for first, made in sorted(slot.tables, key=lambda found: found[0]):
            part.add_table(slot.ids[first : first + made.num_rows], made, 1)
        if slot.good:
            numbers = sorted(slot.good)
            cells = [unpacked(slot.good[n]) for n in numbers]
            part.add_rows([slot.ids[n] for n in numbers], cells, 1)
        for _, failure in sorted(slot.failed.items()):
            part.fail(failure)
    draft.held = []


def _wanted(slots: Sequence[Slot]) -> Union[pa.Schema, None]:
    """The schema that these results ask for. None: they have none."""
    tables = [made for slot in slots for _, made in slot.tables]
    if tables:
        return schemas.with_ids_first(tables[0].slice(0, 0), []).schema
    cells: list[dict[str, Cell]] = [
        unpacked(slot.good[n]) for slot in slots for n in sorted(slot.good)
    ]
    return schemas.schema_of(cells) if cells else None
