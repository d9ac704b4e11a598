"""The agent of a dataset: reads ranges of files, works on their rows, and writes parts."""

import logging
import queue
import threading
import time
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from pods.agent.calling import Failed
from pods.agent.control import Control, Intent
from pods.agent.dataset import credentials, memory, sheet
from pods.agent.dataset.backlog import RangeStream
from pods.agent.dataset.columns import DEFAULT_ROWS
from pods.agent.dataset.committing import Committing, NotCommitted
from pods.agent.dataset.dividing import PIECE_TRIES, Dividing, not_tried
from pods.agent.dataset.feeding import Feeding, Read
from pods.agent.dataset.formats import UnknownFormat, sink_format
from pods.agent.dataset.hand import Hand
from pods.agent.dataset.reading import chunks
from pods.agent.dataset.rows import BadInput
from pods.agent.dataset.shelf import Shelf
from pods.agent.dataset.stores import Changed, Full, StoreError, Unreachable, with_known_key
from pods.agent.dataset.work import Work
from pods.agent.dataset.writing import READ_SHARE, Closed, Writing, ring_bytes, spare_bytes
from pods.agent.farewell import GOODBYE_SECONDS
from pods.agent.handler_process import HandlerProcess
from pods.agent.heartbeat import EXIT_FENCED, Beating
from pods.agent.holding import SUSPECT_DELIVERIES, Holding
from pods.agent.measures import Measured
from pods.agent.patience import GivenUp, Patience
from pods.agent.protocol import DATASET, AgentSettings
from pods.agent.ranges import Range, RefusedRange
from pods.agent.stream import Entry, Failure
from pods.agent.stream_agent import StreamAgent

log = logging.getLogger("podfleet.agent")

MOST_TRIES = 3  # of a row that fails, within its range
STEP_SECONDS = 0.5
SHORT_STEP_SECONDS = 0.02
LONG_STEP_SECONDS = 5.0  # between two questions whether other agents are idle
DIVIDING_TRIES = 2  # of an agent that divides a range: to read it may be what ends the pod
# An entry is small. Several are read at once only where ranges are tiny.
ENTRY_BYTES = 1024 * 1024


class DatasetAgent(StreamAgent[RangeStream]):
    """The agent of a dataset."""

    # Ranges in hand are finished or handed back after the stop too.
    _keeps, _keeps_trying = Intent.STOP, Intent.FENCED
    _more_tries = DIVIDING_TRIES

    def __init__(self, settings: AgentSettings, control: Control) -> None:
        super().__init__(settings, control, RangeStream, Holding(1))
        self._holding.tune(1, 0.0)  # `Hand` says when there is room, not its window
        self._store_patience = Patience(
            self._progress, control, EXIT_FENCED, self._shares.stuck, passing=(Unreachable, Full)
        )
        self._writing = Writing(settings.range_bytes, self._fix_schema, self._closed)
        self._committing = Committing(
            self._stream, self._patience, self._store_patience, self._progress, control
        )
        self._dividing = Dividing(
            self._stream, self._patience, self._store_patience, self._settling, self._holding
        )
        self._next_share = 0.0
        self._shelf: Shelf[Read] = Shelf(int(settings.range_bytes * READ_SHARE))
        self._feeding = Feeding(self._shelf, self._progress, self._wait_for_writer)
        self._hand = Hand(self._holding, self._feeding)
        self._to_read: queue.SimpleQueue[Work] = queue.SimpleQueue()
        self._to_commit: queue.SimpleQueue[Closed] = queue.SimpleQueue()
        self._beating = Beating(settings, self._progress, self._hand, control, self._measures.now)
        self._handler = HandlerProcess(
            settings.handler,
            timeout_seconds=settings.handler_timeout_seconds,
            on_worked=self._worked,
            on_crashed=self._crashed,
            on_broken=self._broken,
            does=self._shares.does,
            kind=DATASET,
            most_items=settings.batch_size,
            ring_bytes=ring_bytes(settings.range_bytes),
            secrets=self._beating.secrets.now,
            limits=self._remembering.limits,
            on_found=self._remembering.found,
        )
        credentials.use(self._beating.secrets.of_stores)

    def run(self) -> int:
        """Work until something asks for the end. Returns the exit code."""
        memory.let_go()
        # Arrow's own pool keeps what was freed
        pa.set_memory_pool(pa.system_memory_pool())
        sheet.keep(spare_bytes(self._settings.range_bytes))
        return super().run()

    def _load(self) -> int:
        preferred, most = self._handler.load(), self._settings.batch_size
        calls = self._handler.calls_ahead
        if self._handler.takes_columns:
            most = preferred or DEFAULT_ROWS
        else:
            most = min(preferred or most, most) * calls
        self._feeding.sizing = self._sizing_up_to(most, calls=calls)
        return most

    def _start_work(self) -> Sequence[threading.Thread]:
        intake = self._threads.start("intake", self._take_in)
        self._threads.start("reader", self._read)
        self._threads.start("feeder", lambda: self._feeding.run(self._handler))
        self._threads.start("writer", self._write)
        self._threads.start("committer", self._commit)
        return [intake]

    def _measured(self) -> Measured:
        self._most_held.saw(self._shelf.size)
        return super()._measured()

    def _batch_size(self) -> int:
        return self._feeding.sizing.size

    # The end: a part for what is finished, and the rest back on the stream.

    def _finish(self, intake: Sequence[threading.Thread]) -> None:
        deadline = time.monotonic() + self._settings.drain_seconds
        while self._control.intent is Intent.DRAIN and time.monotonic() < deadline:
            self._hand.close_all()
            if not any(t.is_alive() for t in intake) and not self._hand.works():
                return
            self._control.wait_beyond(Intent.DRAIN, SHORT_STEP_SECONDS)

    def _end(self) -> int:
        fenced = self._control.intent is Intent.FENCED
        self._committing.deadline = time.monotonic() + GOODBYE_SECONDS
        self._handler.close(kindly=not self._hand.works() and not fenced)
        self._shelf.close()
        self._writing.end()
        while not fenced and self._hand.works() and time.monotonic() < self._committing.deadline:
            for work in self._hand.works():
                work.abandon()
            time.sleep(SHORT_STEP_SECONDS)
            fenced = self._control.intent is Intent.FENCED
        return self._leave(fenced=fenced)

    # The work of the threads.

    def _take_step(self) -> None:
        self._hand.give_back()
        if self._trickle.on:
            self._reclaim.offer()
        self._reclaim.retry(self._trickle.most(1))
        if not self._hand.has_room():
            self._share()
            self._control.wait_beyond(Intent.WORK, SHORT_STEP_SECONDS)
            return
        ready = self._holding.take_batches(1, 0)
        most = self._trickle.most(1)
        end = self._take(most) if most and not ready else ""
        for [entry] in ready or self._holding.take_batches(1, 0):
            self._begin(entry)
        if end:
            self._stream.wait(end)
        elif not most:
            self._control.wait_beyond(Intent.WORK, STEP_SECONDS)

    def _take(self, most: int) -> str:
        """Take a range in hand. Returns the last id of the stream if it has no new ones, else ''."""
        if (recovered := self._reclaim.recover(most, ENTRY_BYTES)) is not None:
            self._trickle.took(recovered)
            return ""
        if claimed := self._reclaim.claim(most, ENTRY_BYTES, idle=not len(self._holding)):
            self._trickle.took(claimed)
            return ""
        began = time.monotonic()
        entries, end = self._stream.read(most, ENTRY_BYTES, equal_part=True)
        self._holding.read_took(time.monotonic() - began, len(entries))
        self._shares.read(all_asked=bool(entries))
        self._trickle.took(self._holding.add(entries))
        return end

    def _share(self) -> None:
        """Give half of a long rest to agents that have nothing to do, where no range waits."""
        work, now = self._hand.shareable(), time.monotonic()
        if work is None or now < self._next_share:
            return
        self._next_share = now + LONG_STEP_SECONDS
        if idle := self._stream.idle_agents():
            log.info("range_shared range=%s idle_agents=%d", work.range.id, idle)
            work.share()

    def _begin(self, entry: Entry) -> None:
        """Read a range next. One that may have ended its pods has the agent for itself."""
        try:
            of = Range.parse(entry.fields)
        except RefusedRange as exc:
            self._settling.fail([Failure(entry.id, str(exc), final=True)])
            return
        work = self._work(entry, of)
        while work.alone and self._hand.works():
            if self._control.wait_beyond(Intent.WORK, SHORT_STEP_SECONDS):
                self._holding.put_back([entry])
                return
        try:
            lost = self._stream.begin([entry])
        except Exception:
            self._holding.put_back([entry])  # the step is repeated
            raise
        if lost:
            self._holding.drop([entry.id])
            return
        self._holding.begun([entry])
        if entry.deliveries > self._tries_of(work) and not self._dividing.one_row(work):
            return
        self._hand.add(work)
        self._to_read.put(work)

    def _work(self, entry: Entry, of: Range) -> Work:
        settings, tries = self._settings, min(MOST_TRIES, self._settings.max_deliveries)
        work = Work(entry, of, self._writing.put, most_tries=tries)
        work.alone = work.divided or self._holding.is_suspect(entry.id)
        longest = (
            min(PIECE_TRIES, settings.max_deliveries) if work.divided else settings.max_deliveries
        )
        work.last = entry.deliveries >= longest
        return work

    def _tries_of(self, work: Work) -> int:
        """How often a range is begun before it is divided, if no agent reports what became of it."""
        if work.divided:
            return PIECE_TRIES
        return max(self._settings.max_deliveries, SUSPECT_DELIVERIES)

    def _read(self) -> None:
        try:
            while True:
                self._read_range(self._to_read.get())
        except GivenUp:
            return

    def _read_range(self, work: Work) -> None:
        def read(tries: int) -> None:
            sink_format(work.range.part_format)  # before the handler works for nothing
            of = work.range.rest(work.read_to, work.range.rows)
            read_ones = chunks(of, columnar=self._handler.takes_columns)
            for chunk in not_tried(read_ones, work.given_up) if work.given_up else read_ones:
                if work.closing or not self._shelf.put(Read(work, chunk), chunk.size):
                    work.skipped = True
                    return
                work.read_to = chunk.ends[-1]
            self._shelf.put(Read(work, None), 0)

        try:
            self._store_patience.with_(
                "store", lambda n: with_known_key(n, lambda: read(n)), until=Intent.STOP
            )
        except (BadInput, StoreError, UnknownFormat) as exc:  # another pod's image may have it
            failed = Failed(str(exc), final=isinstance(exc, (BadInput, Changed)))
            self._shelf.put(Read(work, failed), 0)

    def _write(self) -> None:
        try:
            self._writing.run()
        except GivenUp:
            return

    def _fix_schema(self, wanted: Any) -> Any:
        return self._patience.with_(
            "schema", lambda _: self._stream.fix_schema(wanted), until=Intent.FENCED
        )

    def _closed(self, closed: Closed) -> None:
        self._to_commit.put(closed)
        memory.trim()

    def _commit(self) -> None:
        while True:
            closed = self._to_commit.get()
            try:
                self._end_range(closed)
            except GivenUp as exc:
                log.warning(
                    "range_not_finished range=%s because=%r", closed.work.range.id, str(exc)
                )
            self._hand.drop(closed.work)
            del closed  # its part takes no memory while the next one is awaited

    def _end_range(self, closed: Closed) -> None:
        """Commit a range, or settle its failed try, or give it back where nothing is finished."""
        work, why = closed.work, closed.work.error
        if closed.written is not None:
            try:
                self._committing.commit(closed)
            except NotCommitted as exc:
                why = Failed(str(exc))
            else:
                self._holding.drop([work.entry.id])
            finally:
                self._writing.committed(closed.written)
        if why is not None:
            log.warning("range_failed range=%s because=%r", work.range.id, why.error)
            self._progress.add(failed=1)
            final = why.final or (work.divided and work.last)
            failure = Failure(work.entry.id, why.error, why.traceback, final)
            self._settling.fail([failure])
        elif closed.written is None:
            self._hand.release(work, self._stream, self._patience)

    # What the handler's process calls.

    def _worked(self, items: list[Entry], outcomes: Any, batches: int, seconds: float) -> None:
        self._progress.over("handler")
        self._feeding.worked(items, outcomes, batches, seconds)

    def _wait_for_writer(self) -> None:
        if self._writing.full:
            with self._shares.held_up():
                self._writing.wait()

    def _crashed(self, batch: list[Entry], untouched: list[list[Entry]], why: str) -> None:
        self._progress.trouble("handler", why)
        self._feeding.crashed(batch, untouched, why)
