"""The ranges that the agent has in hand, and when it takes the next one."""

import logging
import math
import threading
import time

from pods.agent.control import Intent
from pods.agent.dataset.feeding import Feeding
from pods.agent.dataset.work import Work
from pods.agent.holding import Holding
from pods.agent.patience import Patience
from pods.agent.stream import Stream

log = logging.getLogger("podfleet.agent")

# The next range is read when the rows that the handler does not have yet take less than this.
AHEAD_SECONDS = 5.0
MOST_AHEAD = 8  # tiny ranges
# A range that waits longer for the handler is given back to the group.
LONGEST_WAIT_SECONDS = 30.0
# A rest that takes longer than this is shared with agents that have nothing to do.
SHARED_SECONDS = 60.0


class Hand:
    """Ranges in hand, with their rows. Threads may share it."""

    def __init__(self, holding: Holding, feeding: Feeding) -> None:
        self._holding, self._feeding = holding, feeding
        self._lock = threading.Lock()
        self._works: list[tuple[Work, float]] = []

    def add(self, work: Work) -> None:
        """A range is about to be read."""
        with self._lock:
            self._works.append((work, time.monotonic()))

    def drop(self, work: Work) -> None:
        """A range is committed, failed or given back."""
        with self._lock:
            self._works = [(other, since) for other, since in self._works if other is not work]

    def works(self) -> list[Work]:
        """The ranges that are not committed yet, in order."""
        with self._lock:
            return [work for work, _ in self._works]

    def close_all(self) -> None:
        """The handler gets no more rows."""
        for work in self.works():
            work.close()

    def has_room(self) -> bool:
        """Whether the next range should be read now: the handler must not wait for it."""
        # a range whose rows are all with the handler, or behind it, does not count
        open_ = [work for work in self.works() if not work.closing]
        if any(work.alone for work in open_):
            return False
        left = sum(work.seconds_left() for work in open_[:1])
        if len(open_) > 1:  # those that wait take about as long for each row
            first = open_[0]
            waiting = sum(work.range.rows for work in open_[1:])
            left += waiting * first.row_seconds()
        return len(open_) < MOST_AHEAD and left < AHEAD_SECONDS

    def shareable(self) -> "Work | None":
        """The only range in hand, if its rest will take so long that another agent could help."""
        works = self.works()
        if len(works) != 1 or works[0].closing or works[0].alone:
            return None
        return works[0] if SHARED_SECONDS < works[0].seconds_left() < math.inf else None

    def give_back(self) -> None:
        """Let other agents have the ranges that the handler does not come to."""
        now = time.monotonic()
        with self._lock:
            late = [w for w, since in self._works[1:] if now - since > LONGEST_WAIT_SECONDS]
        for work in late:
            if work.began is None:
                work.close()  # without a finished row it is released

    def release(self, work: Work, stream: Stream, patience: Patience) -> None:
        """Give a range back to the group, of which nothing is finished."""
        tried = work.began is not None
        patience.with_(
            "release", lambda _: stream.release([(work.entry.id, tried)]), until=Intent.FENCED
        )
        self._holding.drop([work.entry.id])
        log.info("range_given_back range=%s tried=%s", work.range.id, tried)

    # What the heartbeat says: rows, not ranges.

    def __len__(self) -> int:
        return sum(work.rows_left for work in self.works())

    def idle_ms(self) -> int:
        """Milliseconds since a range was last in hand. 0 while there is one."""
        return self._holding.idle_ms()

    def held_ms(self) -> int:
        """Milliseconds in which there was a range in hand, all times together."""
        return self._holding.held_ms()

    def oldest_ms(self) -> int:
        """Milliseconds since the handler got the oldest rows that it has. 0: it has none.

        An agent that waits for its store does not hang.
        """
        return self._feeding.oldest_ms()
