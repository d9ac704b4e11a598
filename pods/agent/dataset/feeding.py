"""Gives the rows of ranges to the handler in batches, and takes in what became of them."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, Union

from pods.agent.calling import Failed, Outcome
from pods.agent.dataset.rows import Chunk
from pods.agent.dataset.shelf import Shelf
from pods.agent.dataset.work import Batch, Slot, Work
from pods.agent.handler_process import HandlerProcess
from pods.agent.progress import Progress
from pods.agent.protocol import MOST_FAILING
from pods.agent.sizing import Sizing
from pods.agent.stream import Entry

log = logging.getLogger("podfleet.agent")

WAIT_SECONDS = 0.1


class Read(NamedTuple):
    """What the reader has: a chunk of a range, its end (None), or why it cannot be read."""

    work: Work
    what: Union[Chunk, Failed, None]


class Feeding:
    """The way of rows through the handler's process. Their order is that of the file."""

    def __init__(self, shelf: "Shelf[Read]", progress: Progress, wait: Callable[[], None]) -> None:
        self._shelf, self._progress = shelf, progress
        self._wait_for_writer = wait
        self.sizing = Sizing(1, 1.0)
        self._lock = threading.Lock()
        self._again: deque[Batch] = deque()
        self._sent: deque[Batch] = deque()
        self._work: Union[Work, None] = None
        self._chunk: Union[Chunk, None] = None
        self._at = 0
        self._held_up = False

    def oldest_ms(self) -> int:
        """Milliseconds since the oldest batch that the handler has was given to it. 0: it has none.

        Also 0 while its answers wait for the writer, which may wait for the store.
        """
        with self._lock:
            if self._held_up or not self._sent:
                return 0
            return int((time.monotonic() - self._sent[0].sent) * 1000)

    def run(self, handler: HandlerProcess) -> None:
        """Feed the handler until its process is closed."""
        while room := handler.wait_for_room():
            batches = self._next(room)
            if not batches:
                continue
            now = time.monotonic()
            with self._lock:
                for batch in batches:
                    batch.sent = now
                self._sent.extend(batches)
            if not handler.submit(list(batches)):
                return

    def _next(self, room: int) -> list[Batch]:
        batches: list[Batch] = []
        while len(batches) < room:
            with self._lock:
                again = self._again.popleft() if self._again else None
            batch = again or self._fresh(wait=not batches)
            if batch is None:
                break
            batches.append(batch)
        return batches

    def _fresh(self, *, wait: bool) -> Union[Batch, None]:
        """The next batch of rows that were not tried before. None: there is none at the moment."""
        while True:
            if self._chunk is None and not self._next_chunk(wait):
                return None
            work, chunk = self._work, self._chunk
            if work is None or chunk is None:
                continue
            first, after = self._at, min(len(chunk), self._at + self.sizing.size)
            self._at = after
            if after == len(chunk):
                self._chunk = None
            slot = Slot(chunk, first, after)
            if not work.add(slot):
                self._chunk = None
                continue
            if slot.complete:  # none of its rows can be worked on
                continue
            batch = slot.first_batch()
            batch.work = work
            return batch

    def _next_chunk(self, wait: bool) -> bool:
        read = self._shelf.take(WAIT_SECONDS if wait else 0)
        if read is None:
            return False
        self._work, self._at = read.work, 0
        if isinstance(read.what, Chunk):
            self._chunk = read.what
        elif read.what is None:
            read.work.close(whole=not read.work.skipped)
        else:
            read.work.close(error=read.what)
        return True

    def worked(
        self, items: list[Entry], outcomes: list[Outcome], batches: int, seconds: float
    ) -> None:
        """The handler's process has answered for so many batches."""
        with self._lock:
            done = [self._sent.popleft() for _ in range(batches)]
        rows, at = 0, 0
        for batch in done:
            told = outcomes[at : at + len(batch)]
            at += len(batch)
            rows += len(batch.numbers)
            self._settle(batch, told)
        self.sizing = self.sizing.after(rows // batches, seconds / batches)
        self._held_up = True
        self._wait_for_writer()
        with self._lock:
            self._held_up = False
            for batch in self._sent:  # what came meanwhile was not heard
                batch.sent = time.monotonic()

    def crashed(self, culprit: list[Entry], untouched: list[list[Entry]], why: str) -> None:
        """The handler's process ended over a batch. Only the row that ends it alone has failed."""
        known = {id(batch) for batch in [culprit, *untouched]}
        with self._lock:
            # others were not sent yet, because their sender waits for the next process
            inside = [batch for batch in self._sent if id(batch) in known]
            self._sent = deque(batch for batch in self._sent if id(batch) not in known)
        log.warning("rows_worked_on_again batches=%d because=%r", len(inside), why)
        again: list[Batch] = []
        for batch in inside:
            if batch is not culprit:
                again.append(batch)
            elif len(batch.numbers) > 1:
                again += batch.pieces()
            else:
                failed = Failed(why, final=True)
                self._settle(batch, [failed])
        with self._lock:
            self._again.extendleft(reversed(again))

    def _settle(self, batch: Batch, outcomes: list[Outcome]) -> None:
        before = len(batch.slot.failed)
        work = batch.work
        good_before = work.good
        again = list(work.settle(batch, outcomes))
        with self._lock:
            self._again.extend(again)
        good, failed = work.good - good_before, len(batch.slot.failed) - before
        self._progress.add(done=good, failed=failed)
        if failed and not good and self._progress.in_a_row < MOST_FAILING:
            failures = [batch.slot.failed[n] for n in batch.numbers if n in batch.slot.failed]
            self._progress.failed_in_a_row(
                tries=[f.id for f in failures][:MOST_FAILING], error=failures[-1].error
            )
