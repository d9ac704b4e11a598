"""How many items should wait for the handler now: enough to keep it busy, and no more.

What one pod holds, another pod cannot begin. So an agent begins with one item. While batches are short
it reads ahead what the handler takes during a few reads. While they are long it reads the next batch
when the present one is about to end.
"""

from pods.agent.sizing import SHORT_SECONDS
from pods.agent.stream import LARGEST_STEP

# The agent reads at least READ_AHEAD_BATCHES short batches ahead: one waits while the next is fetched.
# It reads more where the handler would wait for the link: what it takes during READS_AHEAD reads. While
# the handler still waits for the link, its pace is that of the link, so this is also how fast it grows.
READ_AHEAD_BATCHES = 2
READS_AHEAD = 4
# Far away it begins with so many times what the handler did in the last half second, up to one call.
FIRST_GROWTH = 8
# The next long batch is asked for at least this long before the present one should end. A process may
# be late by as much on a busy machine.
LEAST_LEAD_SECONDS = 0.05
# No more is read ahead than the handler takes in so long beyond READS_AHEAD round trips: reads also take
# longer because many are under way, and then more of them would be.
SLACK_SECONDS = 0.25
# Nor more than it takes in so long beyond one round trip. An item that waited for so long beyond what
# the link needs is given back: the handler takes longer than it should.
HOLD_SECONDS = 2.0
# For how long the pace is measured, and how much a new measurement of a read counts.
PACE_SECONDS = 0.5
SHORTEST_SECONDS = 1e-6
NEW_READ_SHARE = 0.2
# The round-trip time is the least of this time and of the one before. A call takes longer than the link
# where it brings much, or where the server or this machine is busy, and never less.
LEAST_OF_SECONDS = 30.0


class RoundTrips:
    """The round-trip time of the link: the least of the calls in the last half to whole minute."""

    def __init__(self, now: float) -> None:
        self._since = now
        self._least: float | None = None
        self._before: float | None = None

    def took(self, seconds: float, now: float) -> None:
        """A call and its answer took so long."""
        if now - self._since >= LEAST_OF_SECONDS:
            self._before, self._least, self._since = self._least, None, now
        self._least = seconds if self._least is None else min(self._least, seconds)

    @property
    def seconds(self) -> float | None:
        """The round-trip time. None: no call was measured yet."""
        known = [least for least in (self._before, self._least) if least is not None]
        return min(known, default=None)


class Window:
    """Measures the handler and the link. It has no lock: its owner has one."""

    def __init__(self, batch_size: int, now: float) -> None:
        self.batch_size = batch_size
        self._batch_seconds: float | None = None
        self._inside = 0  # items that the handler has, as far as known
        self._busy_until = now
        self._gave_back = False
        self._read_seconds = 0.0
        self._pace, self._paced_since, self._done = 0.0, now, 0
        self.round_trips = RoundTrips(now)

    def tune(
        self, batch_size: int, batch_seconds: float | None, now: float, *, good: int = 0
    ) -> None:
        """The handler has answered, and the next batches should have this size and take this time.

        `good`: the items with a result. A pod that fails everything is quick, and must not take more.
        """
        self._keep_pace(good, now)
        self.batch_size, self._batch_seconds = batch_size, batch_seconds
        self.rest(now)

    def rest(self, now: float) -> None:
        """The handler has nothing more to do, as far as known."""
        self._inside, self._busy_until, self._gave_back = 0, now, False

    def took(self, items: int, now: float) -> None:
        """The handler has taken items."""
        self._keep_pace(0, now)
        self._inside += items
        seconds = (self._batch_seconds or 0.0) * items / self.batch_size
        self._busy_until = max(self._busy_until, now) + seconds

    def read_took(self, seconds: float) -> None:
        """Take in how long a read took that brought items."""
        share = NEW_READ_SHARE if self._read_seconds else 1.0
        self._read_seconds += share * (seconds - self._read_seconds)

    def give_back(self) -> None:
        """Ask for nothing more until the handler answers."""
        self._gave_back = True

    @property
    def hold_seconds(self) -> float:
        """How long an item may wait for the handler."""
        return HOLD_SECONDS + self._lead

    def ahead(self, now: float) -> int:
        """How many items should be ready or asked for now."""
        if self._gave_back:
            return 0
        if self._batch_seconds is None:
            return 0 if self._inside else self.batch_size
        if self._batch_seconds > SHORT_SECONDS:
            return self.batch_size if self.seconds_to_wait(now) <= 0 else 0
        seconds = self._seconds_ahead
        # what it did already in a half second that is not over shows early that its pace grows
        done = max(self._pace * PACE_SECONDS, self._done)
        by_pace = max(seconds * done / PACE_SECONDS, min(FIRST_GROWTH * done, LARGEST_STEP))
        by_time = seconds * self.batch_size / max(self._batch_seconds, SHORTEST_SECONDS)
        return int(max(READ_AHEAD_BATCHES * self.batch_size, min(by_pace, by_time)))

    @property
    def _seconds_ahead(self) -> float:
        rtt = self.round_trips.seconds or 0.0
        link = min(READS_AHEAD * rtt + SLACK_SECONDS, rtt + HOLD_SECONDS)
        return min(READS_AHEAD * self._read_seconds, link)

    def seconds_to_wait(self, now: float) -> float:
        """In how many seconds the next long batch should be asked for. 0 or less: now."""
        return self._busy_until - self._lead - now

    @property
    def _lead(self) -> float:
        return max(LEAST_LEAD_SECONDS, READS_AHEAD * self._read_seconds)

    def _keep_pace(self, items: int, now: float) -> None:
        """Measure the items per second that the handler finishes, every half second."""
        self._done += items
        elapsed = now - self._paced_since
        if elapsed >= PACE_SECONDS:
            self._pace = self._done / elapsed
            self._paced_since, self._done = now, 0
