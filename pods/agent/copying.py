"""Takes a copy of an item that another pod has had for long, while this agent is idle."""

import logging
import threading
import time
from collections.abc import Callable, Iterable

from redis.exceptions import NoPermissionError

from pods.agent.holding import Holding
from pods.agent.protocol import RELEASED_CONSUMER, AgentSettings
from pods.agent.stream import Stream
from pods.agent.tail import BatchTimes, Watch, is_free

log = logging.getLogger("podfleet.agent")

LOOK_SECONDS = 1.0
MOST_WATCHED = 100  # items
MOST_ASKED = 8  # for a copy in one step, where others were quicker


class Copying:
    """Copies items. One thread copies; others may report."""

    def __init__(
        self,
        settings: AgentSettings,
        stream: Stream,
        holding: Holding,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._stream, self._holding = settings, stream, holding
        self._clock = clock
        self._times, self._watch = BatchTimes(), Watch()
        self._next_look = clock()
        self._lock = threading.Lock()
        self._suspects: list[str] = []
        self._allowed = True

    def worked(self, batch_seconds: float) -> None:
        """A batch took so long."""
        self._times.add(batch_seconds)

    def suspect(self, entries: Iterable[str]) -> None:
        """One of these items ended the handler's process: no other agent may copy any of them."""
        with self._lock:
            self._suspects += entries

    def mark_suspects(self) -> None:
        """Tell the other agents of the suspects."""
        with self._lock:
            suspects, self._suspects = self._suspects, []
        try:
            self._stream.mark(suspects)
        except NoPermissionError:
            self._forbidden()
        except Exception:
            self.suspect(suspects)
            raise

    def copy(self) -> int:
        """Take a copy of an item that is overdue in the hand of another pod. Returns how many: 0 or 1.

        Call it only where nothing is in hand, and nothing else can be taken.
        """
        after, now = self._times.overdue_seconds(), self._clock()
        if not self._allowed or after is None or now < self._next_look:
            return 0
        self._next_look = now + LOOK_SECONDS
        me, claim_idle = self._settings.pod, self._settings.claim_idle_seconds
        others = [item for item in self._stream.pending(MOST_WATCHED) if item.pod != me]
        overdue = self._watch.overdue(others, after_seconds=after, now=now)
        if any(
            is_free(o, claim_idle_seconds=claim_idle, released=RELEASED_CONSUMER) for o in others
        ):
            return 0
        try:
            for item in overdue[:MOST_ASKED]:
                if copied := self._stream.copy(item.entry, item.pod):
                    log.info("item_copied entry=%s from=%s", item.entry, item.pod)
                    return self._holding.add([copied])
        except NoPermissionError:
            self._forbidden()
        return 0

    def _forbidden(self) -> None:
        """A manager of an older version made this pod's user, which may mark no items."""
        self._allowed = False
        log.warning("no_items_copied because='the Redis user of this pod may not mark items'")
