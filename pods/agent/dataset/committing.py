"""Puts parts and commits ranges: the put first, so that what is committed exists."""

import logging
import time
from collections.abc import Callable
from typing import Union

from pods.agent.control import Control, Intent
from pods.agent.dataset import stores
from pods.agent.dataset.backlog import Finished, RangeStream
from pods.agent.dataset.parts import Written
from pods.agent.dataset.stores import AlreadyThere, Place, place
from pods.agent.dataset.work import Work
from pods.agent.dataset.writing import Closed
from pods.agent.patience import GivenUp, Patience
from pods.agent.progress import Progress
from pods.agent.ranges import PartName, Range, Receipt

log = logging.getLogger("podfleet.agent")


class NotCommitted(Exception):
    """The range failed as a whole. The message says why."""


class Committing:
    """Ends ranges whose rows are finished."""

    def __init__(
        self,
        stream: RangeStream,
        patience: Patience,
        store_patience: Patience,
        progress: Progress,
        control: Control,
    ) -> None:
        self._stream, self._progress, self._control = stream, progress, control
        self._patience, self._store_patience = patience, store_patience
        self.deadline: Union[float, None] = None  # of an agent that ends, on the monotonic clock

    def commit(self, closed: Closed) -> None:
        """Put the errors and the part, and commit the range.

        Nothing is put if another agent has finished the range: this one was frozen.

        Raises:
            NotCommitted: the sink refuses.
            GivenUp: the agent must end before that.
        """
        done, written, work = closed.done, closed.written, closed.work
        assert done is not None
        assert written is not None
        if self._is_finished(work):
            self._progress.add(duplicates=1)
            log.info("range_finished_by_another range=%s", done.id)
            return
        name = PartName.of(done, written.failed)
        try:
            etag, size, created = self._put(place(done.sink), name, written)
        except (stores.StoreError, stores.BadUrl) as exc:
            raise NotCommitted(f"the part could not be written: {exc}") from exc
        receipt = _receipt(done, work, written, name, etag, size)
        finished = self._finish(closed, receipt)
        if not finished.ours:
            self._too_late(done, name, finished, created=created)
        log.info("range_finished range=%s rows=%d failed=%d rest=%s ours=%s", done.id, receipt.rows,
                 receipt.failed, [one.id for one in closed.rest], finished.ours)  # fmt: skip

    def _is_finished(self, work: Work) -> bool:
        entry = work.entry.id
        return self._patience.with_(
            "commit", self._in_time(lambda: self._stream.is_finished(entry)), until=Intent.FENCED
        )

    def _put(self, sink: Place, name: PartName, written: Written) -> tuple[str, int, bool]:
        """Put the files. Returns the part's ETag and size, and whether it was not there before."""
        if written.errors is not None:
            errors = written.errors
            self._until_it_answers(lambda: sink.at(name.errors_name).put(errors))
        part = sink.at(str(name))
        try:
            etag = self._until_it_answers(lambda: part.put(written.part, create=True))
        except AlreadyThere:
            # of another agent with the same failures, or of a put whose answer was lost
            found = self._until_it_answers(part.head)
            return found.etag, found.size, False
        return etag, len(written.part), True

    def _until_it_answers(self, ask: "Callable[[], stores.T]") -> "stores.T":
        return self._store_patience.with_("store", self._in_time(ask), until=Intent.FENCED)

    def _in_time(self, ask: "Callable[[], stores.T]") -> "Callable[[int], stores.T]":
        def attempt(tries: int) -> "stores.T":
            if self.deadline is not None and time.monotonic() > self.deadline:
                raise GivenUp("the server could not be reached in time")
            return stores.with_known_key(tries, ask)

        return attempt

    def _finish(self, closed: Closed, receipt: Receipt) -> Finished:
        work = closed.work
        planned = receipt.rows + sum(one.rows for one in closed.rest) - work.range.rows

        def attempt(tries: int) -> tuple[Finished, int]:
            if self.deadline is not None and time.monotonic() > self.deadline:
                raise GivenUp("Redis could not be reached in time")
            finished = self._stream.commit_range(
                work.entry.id, receipt, planned, closed.rest, divided=work.divided
            )
            return finished, tries

        finished, tries = self._patience.with_("commit", attempt, until=Intent.FENCED)
        counts = finished.counts
        if tries and counts is not None and counts.part == receipt.part:
            return Finished(True, counts)  # by this try, or by one whose answer was lost
        return finished

    def _too_late(self, done: Range, name: PartName, finished: Finished, *, created: bool) -> None:
        """Remove our part, if it is ours alone and another one counts."""
        self._progress.add(duplicates=1)
        counts = finished.counts
        if counts is None or counts.part == str(name) or not created:
            return
        sink = place(done.sink)
        try:
            sink.at(str(name)).delete()
            if name.errors:
                sink.at(name.errors_name).delete()
        except stores.StoreError as exc:
            log.warning("late_part_left part=%s because=%r", name, str(exc))


def _receipt(
    done: Range, work: Work, written: Written, name: PartName, etag: str, size: int
) -> Receipt:
    return Receipt(
        range=done.id,
        source=done.source.url,
        start=done.start,
        end=done.end,
        rows=written.done + len(written.failed),
        done=written.done,
        failed=len(written.failed),
        part_bytes=size,
        seconds=round(time.monotonic() - (work.began or time.monotonic()), 3),
        part=str(name),
        etag=etag,
        errors=name.errors_name,
        samples=written.samples,
    )
