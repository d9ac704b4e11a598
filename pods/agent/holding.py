"""The items that the agent has in hand: read and not yet acknowledged, with their stage."""

import heapq
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice

from pods.agent.held_time import HeldTime
from pods.agent.in_hand import SHED, InHand, Stage
from pods.agent.protocol import MOST_HELD_BYTES
from pods.agent.room import Ask, Hand, Room
from pods.agent.stream import Entry
from pods.agent.window import Window

# The most items in hand, in batches of the largest size, with those in the handler, in a commit, or
# waiting for a retry. A handler that takes more during a few reads may have twice that.
MOST_BATCHES = 32
MOST_BYTES = MOST_HELD_BYTES  # with the last item of a read it may be more by that item
# The most bytes of failed items that are taken again at once. While they are read, they are in memory
# twice.
MOST_RETRY_BYTES = 32 * 1024 * 1024
# An item whose try is the third one may have killed its former agents. It is tried alone. The first
# time it may have been a neighbour in a batch, and also the second time.
SUSPECT_DELIVERIES = 3
FIRST_RETRY_SECONDS = 0.5
LONGEST_RETRY_SECONDS = 30.0


class Holding:
    """The bounded buffer between the link and the handler. Threads may share it."""

    def __init__(
        self,
        batch_size: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._clock = clock
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._filled = threading.Condition(self._lock)  # an item is ready
        self._freed = threading.Condition(self._lock)  # there is room
        self._wanted = threading.Condition(self._lock)  # there is room for a further read
        self._held: dict[str, InHand] = {}
        self._ready: deque[str] = deque()
        self._waiting: list[tuple[float, str]] = []  # a heap
        self._suspects: set[str] = set()
        self._bytes = 0
        self._room = Room()
        self._empty_since = clock()
        self._held_time = HeldTime(clock)
        self._window = Window(batch_size, clock())
        self.largest_batch = batch_size

    def __len__(self) -> int:
        return len(self._held)

    def __contains__(self, entry: object) -> bool:
        return entry in self._held

    @property
    def bytes_held(self) -> int:
        """The bytes of the payloads in hand."""
        return self._bytes

    @property
    def rtt_seconds(self) -> float | None:
        """The round-trip time of the link: the least of the recent calls. None: not known yet."""
        with self._lock:
            return self._window.round_trips.seconds

    def round_trip(self, seconds: float) -> None:
        """Take in how long a call to the server took."""
        with self._lock:
            self._window.round_trips.took(seconds, self._clock())

    def waits(self, entry: str) -> bool:
        """Whether the item is in hand and waits for its next try."""
        with self._lock:
            held = self._held.get(entry)
            return held is not None and held.stage is Stage.WAITING

    def idle_ms(self) -> int:
        """Milliseconds since an item was last in hand. 0 while there is one."""
        with self._lock:
            return 0 if self._held else int((self._clock() - self._empty_since) * 1000)

    def held_ms(self) -> int:
        """Milliseconds in which there was an item in hand, all times together."""
        with self._lock:
            return self._held_time.ms()

    def oldest_ms(self) -> int:
        """Milliseconds since the oldest item in hand was read. 0 with nothing in hand."""
        with self._lock:
            oldest = min((held.since for held in self._held.values()), default=None)
            return 0 if oldest is None else int((self._clock() - oldest) * 1000)

    def room(self) -> Ask:
        """How many items and bytes may be read now."""
        with self._lock:
            return self._room.free(self._hand())

    def _hand(self) -> Hand:
        ahead = self._window.ahead(self._clock())
        most = max(MOST_BATCHES * self.largest_batch, 2 * ahead)
        free_bytes = self._most_bytes - self._bytes
        return Hand(ahead, len(self._ready), len(self._held), most, free_bytes)

    @contextmanager
    def asking(self, *, further: bool = False) -> Iterator[Ask]:
        """What may be read now: no other thread asks for it inside the block.

        `further`: beside other reads that may be under way.
        """
        with self._lock:
            ask = (self._room.further if further else self._room.free)(self._hand())
            self._room.ask(ask)
        try:
            yield ask
        finally:
            with self._lock:
                self._room.over(ask)
                self._tell_if_free()

    def read_took(self, seconds: float, items: int) -> None:
        """Take in how long a read took, and how many items it brought."""
        with self._lock:
            self._window.round_trips.took(seconds, self._clock())
            self._room.brought(items)
            if items:
                self._window.read_took(seconds)
            self._tell_if_free()

    def tune(self, batch_size: int, batch_seconds: float | None, *, good: int = 0) -> None:
        """The handler has answered; the next batches should have this size and take this time."""
        with self._lock:
            self._window.tune(batch_size, batch_seconds, self._clock(), good=good)
            self._tell_if_free()

    def rest(self) -> None:
        """The handler has nothing more to do: it crashed, or the items for it were taken back."""
        with self._lock:
            self._window.rest(self._clock())
            self._tell_if_free()

    def retry_room(self) -> tuple[int, int]:
        """How many items and bytes may be taken again. The items are in hand, without their payload."""
        with self._lock:
            hand = self._hand()
            items = hand.ahead - hand.ready
            return max(0, items), min(self._room.bytes(hand), MOST_RETRY_BYTES)

    def wait_for_room(self, seconds: float) -> None:
        """Return as soon as there is room, or after `seconds`."""
        with self._lock:
            soon = self._window.seconds_to_wait(self._clock())
            self._freed.wait_for(
                lambda: self._room.free(self._hand()).items,
                min(seconds, soon) if soon > 0 else seconds,
            )

    def wait_for_further_room(self, seconds: float) -> None:
        """Return as soon as there is room for a further read, or after `seconds`."""
        with self._lock:
            self._wanted.wait_for(lambda: self._room.further(self._hand()).items, seconds)

    def _tell_if_free(self) -> None:
        hand = self._hand()
        if self._room.free(hand).items:
            self._freed.notify()
        if self._room.further(hand).items:
            self._wanted.notify()

    def add(self, entries: Iterable[Entry]) -> int:
        """Take items in hand, except those that already are. Returns how many were new."""
        added = 0
        with self._lock:
            now, in_hand, ready = self._clock(), self._held, self._ready
            for entry in entries:
                since = now
                if entry.id in in_hand:
                    if in_hand[entry.id].stage is not Stage.WAITING:
                        continue
                    since = in_hand[entry.id].since
                alone = entry.deliveries >= SUSPECT_DELIVERIES or entry.id in self._suspects
                in_hand[entry.id] = InHand(entry, alone, since, now)
                self._bytes += entry.size
                ready.append(entry.id)
                added += 1
            self._held_time.holds(bool(in_hand))
            self._filled.notify()
        return added

    def take_batches(self, most: int, seconds: float) -> list[list[Entry]]:
        """The next batches for the handler. None if no item is ready within `seconds`.

        A suspect is the only item of the only batch.
        """
        with self._lock:
            if not self._ready:
                self._filled.wait(seconds)
            batches: list[list[Entry]] = []
            while self._ready and len(batches) < most:
                alone = self._held[self._ready[0]].alone
                if alone and batches:
                    break
                batches.append(self._take_batch())
                if alone:
                    break
            self._window.took(sum(map(len, batches)), self._clock())
            self._tell_if_free()
            return batches

    def _take_batch(self) -> list[Entry]:
        in_hand, ready, size = self._held, self._ready, self._window.batch_size
        batch: list[Entry] = []
        while ready and len(batch) < size:
            held = in_hand[ready[0]]
            if held.alone and batch:
                break
            ready.popleft()
            held.stage, held.tried = Stage.WORKING, True
            batch.append(held.entry)
            if held.alone:
                break
        return batch

    def put_back(self, entries: Sequence[Entry]) -> None:
        """Put a batch that the handler did not begin back to the front."""
        with self._lock:
            for entry in reversed(entries):
                if entry.id in self._held:
                    held = self._held[entry.id]
                    held.stage, held.tried, held.ready_since = Stage.READY, False, self._clock()
                    self._ready.appendleft(entry.id)
            self._filled.notify()

    def is_suspect(self, entry: str) -> bool:
        """Whether the handler must get this item alone, with nothing else under way."""
        with self._lock:
            return entry in self._held and self._held[entry].alone

    def is_alone(self, entry: str) -> bool:
        """Whether no other item is with the handler or in a commit.

        An item that the handler has finished is tried again if the pod ends before its commit does.
        """
        busy = (Stage.WORKING, Stage.COMMITTING)
        with self._lock:
            return not any(h.stage in busy for other, h in self._held.items() if other != entry)

    def begun(self, entries: Iterable[Entry]) -> None:
        """The tries of these items are counted now."""
        with self._lock:
            for entry in entries:
                if entry.id in self._held:
                    self._held[entry.id].counted = True

    def worked(self, entries: Iterable[Entry]) -> None:
        """The handler has finished these items. Their payloads are no longer needed."""
        with self._lock:
            for entry in entries:
                self._shed(entry.id, Stage.COMMITTING)
            self._tell_if_free()

    def suspect(self, entries: Sequence[Entry]) -> None:
        """One of these items ended the handler's process. From now on each is tried alone."""
        with self._lock:
            self._suspects.update(entry.id for entry in entries)

    def try_each_alone(self, entries: Sequence[Entry]) -> None:
        """Put a batch that ended the handler's process to the front: each item's next try is its own.

        Nobody knows which item did it, so that the try in company is held against none of them.
        """
        self.suspect(entries)
        with self._lock:
            for entry in entries:
                if entry.id in self._held:
                    held = self._held[entry.id]
                    held.alone, held.counted = True, False
                    held.entry = entry._replace(deliveries=entry.deliveries + 1, counted=False)
        self.put_back(entries)

    def retry_later(self, entry: str, deliveries: int, error: str = "") -> None:
        """Keep the item in hand, and take it again after a pause that doubles with each try."""
        pause = min(LONGEST_RETRY_SECONDS, FIRST_RETRY_SECONDS * 2.0 ** max(0, deliveries - 1))
        with self._lock:
            if entry in self._held:
                self._shed(entry, Stage.WAITING)
                self._held[entry].error = error or self._held[entry].error
                heapq.heappush(self._waiting, (self._clock() + pause, entry))
            self._tell_if_free()

    def error_of(self, entry: str) -> str:
        """The error of the last try of an item that waits for its next one."""
        with self._lock:
            held = self._held.get(entry)
            return "" if held is None else held.error

    def waiting(self, most: int) -> list[str]:
        """Items that wait for their next try, at most so many."""
        with self._lock:
            waiting = (e for e, held in self._held.items() if held.stage is Stage.WAITING)
            return list(islice(waiting, most))

    def due(self, most: int, max_bytes: int) -> list[str]:
        """The items whose next try is due: at most so many, and no more after so many bytes."""
        with self._lock:
            due: list[str] = []
            while self._waiting and self._waiting[0][0] <= self._clock():
                if len(due) >= most or max_bytes <= 0:
                    break
                entry = heapq.heappop(self._waiting)[1]
                held = self._held.get(entry)
                if held is not None and held.stage is Stage.WAITING:
                    due.append(entry)
                    max_bytes -= held.size
            return due

    def drop(self, entries: Iterable[str]) -> None:
        """Drop items that are acknowledged, dead, or in the hand of another agent."""
        with self._lock:
            had_some = bool(self._held)
            for entry in entries:
                held = self._held.pop(entry, None)
                if held is None:
                    continue
                self._suspects.discard(entry)
                self._bytes -= held.entry.size
                if held.stage is Stage.READY:
                    self._ready.remove(entry)
            if had_some and not self._held:
                self._empty_since = self._clock()
                self._held_time.holds(False)
            self._tell_if_free()

    def drop_lost(self, entries: Iterable[str]) -> None:
        """Drop items that another agent has claimed, except those that the handler works on."""
        with self._lock:
            resting = (Stage.READY, Stage.WAITING, Stage.RETURNING)
            lost = [e for e in entries if e in self._held and self._held[e].stage in resting]
        self.drop(lost)

    def surplus(self) -> list[tuple[str, bool]]:
        """The items to give back, as in `all`: they have waited too long for the handler.

        They stay in hand until they are dropped, and the handler does not get them. Suspects stay: this
        agent knows that each must be alone.
        """
        with self._lock:
            now, ready = self._clock(), self._ready
            if ready and now - self._held[ready[0]].ready_since > self._window.hold_seconds:
                self._window.give_back()
                for entry in [e for e in ready if not self._held[e].alone]:
                    ready.remove(entry)
                    self._held[entry].stage = Stage.RETURNING
            returning = [e for e, held in self._held.items() if held.stage is Stage.RETURNING]
            return [(e, not self._held[e].counted) for e in returning]  # no try of theirs began

    def only_waiting(self) -> bool:
        """Whether nothing in hand will be worked on now: failed items between two tries, or surplus."""
        with self._lock:
            still = (Stage.WAITING, Stage.RETURNING)
            return all(held.stage in still for held in self._held.values())

    def all(self) -> list[tuple[str, bool]]:
        """Every item in hand, and whether its deliveries stay as they are where it is given back.

        They do not where this agent's read counted a try that never began.
        """
        with self._lock:
            return [(e, held.tried or not held.counted) for e, held in self._held.items()]

    def _shed(self, entry: str, stage: Stage) -> None:
        held = self._held.get(entry)
        if held is not None:
            self._bytes -= held.entry.size
            held.stage, held.entry = stage, SHED
