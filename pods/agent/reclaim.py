"""Takes items that are not new: of this pod's former agent, of dead consumers, and of failed tries."""

import time
from collections.abc import Callable

from pods.agent.holding import SUSPECT_DELIVERIES, Holding
from pods.agent.progress import Progress
from pods.agent.protocol import AgentSettings
from pods.agent.stream import LARGEST_STEP, Entry, Failure, Stream, brought_all

LARGEST_CLAIM = 100
# Each agent claims at least this often, because a claim finds the items that were given back.
LONGEST_CLAIM_PAUSE_SECONDS = 5.0
SHORTEST_CLAIM_PAUSE_SECONDS = 1.0
OFFER_PAUSE_SECONDS = 1.0


class Reclaim:
    """Takes pending items in hand, in bounded steps."""

    def __init__(
        self,
        settings: AgentSettings,
        stream: Stream,
        holding: Holding,
        progress: Progress,
        clock: Callable[[], float] = time.monotonic,
        *,
        more_tries: int = 0,
    ) -> None:
        """`more_tries`: for what the agent does itself with items that used up their tries."""
        self._settings, self._more_tries = settings, more_tries
        self._stream, self._holding, self._progress = stream, holding, progress
        self._clock = clock
        self._recovered_to: str | None = ""  # None: all items of the former agent are in hand
        self._cursor = "0-0"
        self._next_claim = self._next_offer = clock()

    def recover(self, room: int, max_bytes: int) -> int | None:
        """Take a page of the items that this name held before a restart. None after the last one."""
        if self._recovered_to is None:
            return None
        entries, last = self._stream.recover(
            min(room, LARGEST_CLAIM), max_bytes, self._recovered_to
        )
        self._recovered_to = last or None
        taken = self._take(entries)
        return taken if last else None

    def claim(self, room: int, max_bytes: int, *, idle: bool) -> int:
        """Take one step over the pending list, if it is time. Returns how many items it brought.

        The cursor moves on with each step, so that a pending list of any length is read.
        """
        if self._clock() < self._next_claim:
            return 0
        count = min(room, LARGEST_CLAIM)
        entries, self._cursor = self._stream.claim(count, max_bytes, self._cursor)
        pause = min(LONGEST_CLAIM_PAUSE_SECONDS, self._settings.claim_idle_seconds / 4)
        if idle:
            pause = min(pause, SHORTEST_CLAIM_PAUSE_SECONDS)
        # a walk that has begun goes on at once, and so does a claim that brought all that it asked for
        full = brought_all(entries, count, max_bytes)
        goes_on = bool(entries) and (full or self._cursor != "0-0")
        self._next_claim = self._clock() + (0 if goes_on else pause)
        taken = self._take(entries)
        self._progress.add(claimed=taken)
        return taken

    def retry(self, most: int) -> int:
        """Take failed items again whose pause is over, as far as there is room. Returns how many.

        They are left to another pod instead if there is one by now.
        """
        items, max_bytes = self._holding.retry_room()
        due = self._holding.due(min(items, most), max_bytes)
        if not due:
            return 0
        try:
            left = self._leave(due)
            again, gone = self._stream.take_again([e for e in due if e not in left])
            self._bury([Failure(e, self._holding.error_of(e), final=True) for e in gone])
        except Exception:
            for entry in due:
                self._holding.retry_later(entry, 1)
            raise
        self._holding.drop(set(due) - {entry.id for entry in again})
        return self._take(again)

    def offer(self) -> None:
        """Leave the failed items that wait for a next try here to another pod, if there is one."""
        if self._clock() < self._next_offer:
            return
        self._next_offer = self._clock() + OFFER_PAUSE_SECONDS
        if waiting := self._holding.waiting(LARGEST_STEP):
            self._leave(waiting)

    def _leave(self, entries: list[str]) -> set[str]:
        """Settle failed tries anew, and drop from hand what is not to be tried here. Returns that."""
        settled = self._stream.fail([Failure(e, self._holding.error_of(e)) for e in entries])
        self._progress.add(dead=sum(s.became == "dead" for s in settled))
        left = {s.entry for s in settled if s.became != "retry"}
        self._holding.drop(left)
        return left

    def _bury(self, failures: list[Failure]) -> None:
        if failures:
            settled = self._stream.fail(failures)
            self._progress.add(dead=sum(s.became == "dead" for s in settled))

    def keep(self) -> None:
        """Show that the items in hand are worked on, and drop those that another agent has claimed."""
        entries = [entry for entry, _ in self._holding.all()]
        self._holding.drop_lost(self._stream.keep(entries))

    def _take(self, entries: list[Entry]) -> int:
        """Take items in hand, except those that used up their deliveries without any report.

        Each item has at least one try alone before that.
        """
        longest = max(self._settings.max_deliveries, SUSPECT_DELIVERIES) + self._more_tries
        fresh = [e for e in entries if e.id not in self._holding or self._holding.waits(e.id)]
        spent = [e for e in fresh if e.deliveries > longest]
        error = "given up: begun {} times, and no agent reported back"
        lost = [Failure(e.id, error.format(e.deliveries - 1), final=True) for e in spent]
        if lost:
            self._progress.failed_in_a_row(final=[f.entry for f in lost], error=lost[-1].error)
            self._bury(lost)
        return self._holding.add(e for e in fresh if e.deliveries <= longest)
