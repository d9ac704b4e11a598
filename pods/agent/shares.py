"""Where the handler's time went in the last half minute, and the most bytes held. One clock alone."""

import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum

from pods.agent.protocol import SHARES

# Half a minute in slots, so that it takes the same memory at any number of events.
SLOT_SECONDS = 3.0
SLOTS = 10


class Doing(Enum):
    """What the handler's process does."""

    STARTING = "starting"
    BUSY = "busy"
    WAITING = "waiting"


class Hold(Enum):
    """What may hold up a handler that waits."""

    ROUND_TRIP = "round trip"  # a call that brings work or makes room for it
    STUCK = "stuck"  # a call that the server refused or did not answer, and that is repeated
    HELD_UP = "held up"  # finished batches that cannot be handed over, because commits take so long


class Shares:
    """Adds up the time of each kind. Threads may share it.

    A handler that waits is held up by the link while a round trip is under way that brings work or
    makes room for it. Where the stream is known to be empty, it is not the link that it waits for.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._doing = Doing.STARTING
        self._holds = dict.fromkeys(Hold, 0)
        self._empty = False  # the stream had no more at the last read
        self._kind = self._doing.value
        self._since = clock()
        self._slot_end = self._since + SLOT_SECONDS
        self._slots = deque([_no_time()], maxlen=SLOTS)

    def does(self, doing: Doing) -> None:
        """From now on the handler's process does this."""
        with self._lock:
            self._account()
            self._doing = doing
            self._kind = self._kind_now()

    def read(self, *, all_asked: bool) -> None:
        """A read has brought all that it asked for, or the stream had no more."""
        with self._lock:
            self._account()
            self._empty = not all_asked
            self._kind = self._kind_now()

    def round_trip(self) -> "During":
        """A call is under way that brings work or makes room for it."""
        return During(self, Hold.ROUND_TRIP)

    def stuck(self) -> "During":
        """A call has failed, and is repeated after a pause."""
        return During(self, Hold.STUCK)

    def held_up(self) -> "During":
        """The handler has finished, and its outcomes wait for commits that take long."""
        return During(self, Hold.HELD_UP)

    def now(self) -> dict[str, float]:
        """The shares of the last half minute, or since the start if that is shorter."""
        with self._lock:
            self._account()
            sums = {name: sum(slot[name] for slot in self._slots) for name in SHARES}
        total = sum(sums.values())
        return {name: round(seconds / total, 3) for name, seconds in sums.items() if total > 0}

    def change(self, what: Hold, by: int) -> None:
        """So many more of these are under way."""
        with self._lock:
            self._account()
            self._holds[what] += by
            self._kind = self._kind_now()

    def _account(self) -> None:
        """Add the time since the last event to its kind."""
        now = self._clock()
        while now >= self._slot_end:
            self._slots[-1][self._kind] += self._slot_end - self._since
            self._since = self._slot_end
            self._slot_end += SLOT_SECONDS
            self._slots.append(_no_time())
        self._slots[-1][self._kind] += now - self._since
        self._since = now

    def _kind_now(self) -> str:
        if self._doing is Doing.STARTING:
            return "starting"
        holds = self._holds
        if self._doing is Doing.BUSY and not holds[Hold.HELD_UP]:
            return "busy"
        asks = holds[Hold.ROUND_TRIP] and not self._empty
        by_link = asks or holds[Hold.STUCK] or holds[Hold.HELD_UP]
        return "link" if by_link else "starved"


class During:
    """Something is under way within a `with` block. A generator would take twice as long."""

    __slots__ = ("_shares", "_what")

    def __init__(self, shares: Shares, what: Hold) -> None:
        self._shares, self._what = shares, what

    def __enter__(self) -> None:
        self._shares.change(self._what, 1)

    def __exit__(self, *_: object) -> None:
        self._shares.change(self._what, -1)


def _no_time() -> dict[str, float]:
    return dict.fromkeys(SHARES, 0.0)


class Peak:
    """The largest value of the last half to whole minute. Threads may share it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since = clock()
        self._now = self._before = 0

    def saw(self, value: int) -> None:
        """Take in a value."""
        with self._lock:
            elapsed = self._clock() - self._since
            if elapsed >= SLOT_SECONDS * SLOTS:
                self._before = self._now if elapsed < 2 * SLOT_SECONDS * SLOTS else 0
                self._now, self._since = 0, self._clock()
            self._now = max(self._now, value)

    def value(self) -> int:
        """The largest value."""
        with self._lock:
            return max(self._now, self._before)
