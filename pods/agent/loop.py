"""The agent: reads ahead, works and commits at the same time, and ends in good order."""

import logging
import threading
import time
from collections.abc import Sequence

from pods.agent.calling import Failed, Outcome
from pods.agent.control import Control, Intent
from pods.agent.copying import Copying
from pods.agent.handler_process import HandlerProcess
from pods.agent.heartbeat import Beating
from pods.agent.holding import Holding
from pods.agent.outbox import Outbox
from pods.agent.patience import GivenUp
from pods.agent.protocol import AgentSettings
from pods.agent.sizing import SHORT_SECONDS
from pods.agent.stream import Entry, Stream, brought_all
from pods.agent.stream_agent import StreamAgent

log = logging.getLogger("podfleet.agent")

# At the most. Over a link of 200 ms the largest reads and commits bring 40,000 items/s then.
READS_IN_FLIGHT = COMMITS_IN_FLIGHT = 16
MOST_RETRIES = 500  # in one step
IDLE_STEP_SECONDS = 0.5
ALONE_STEP_SECONDS = 0.005
DRAIN_STEP_SECONDS = 0.05


class Agent(StreamAgent[Stream]):
    """The agent of items."""

    def __init__(self, settings: AgentSettings, control: Control) -> None:
        super().__init__(settings, control, Stream, Holding(settings.batch_size))
        self._sizing = self._sizing_up_to(settings.batch_size)
        self._holding.tune(self._sizing.size, None)
        self._copying = Copying(settings, self._stream, self._holding)
        self._beating = Beating(
            settings, self._progress, self._holding, control, self._measures.now
        )
        self._outbox = Outbox(self._shares.held_up)
        self._handler = HandlerProcess(
            settings.handler,
            timeout_seconds=settings.handler_timeout_seconds,
            on_worked=self._worked_on,
            on_crashed=self._crashed,
            on_broken=self._broken,
            does=self._shares.does,
            most_items=settings.batch_size,
            secrets=self._beating.secrets.now,
            limits=self._remembering.limits,
            on_found=self._remembering.found,
            # items may have been given back meanwhile; then no answer would make room for others
            on_restarted=self._holding.rest,
        )

    def _load(self) -> int:
        preferred, most = self._handler.load(), self._settings.batch_size
        calls = self._handler.calls_ahead
        most = calls * min(preferred or most, most)
        self._sizing = self._sizing_up_to(most, calls=calls)
        self._holding.largest_batch = most
        return most

    def _start_work(self) -> Sequence[threading.Thread]:
        intake = [self._threads.start("intake", self._take_in)]
        intake += [
            self._threads.start(f"read-{n}", self._read_along) for n in range(1, READS_IN_FLIGHT)
        ]
        self._threads.start("feeder", self._feed)
        for n in range(COMMITS_IN_FLIGHT):
            self._threads.start(f"commit-{n}", self._commit)
        return intake

    def _batch_size(self) -> int:
        return self._sizing.size

    def _finish(self, intake: Sequence[threading.Thread]) -> None:
        deadline = time.monotonic() + self._settings.drain_seconds
        while self._control.intent is Intent.DRAIN and time.monotonic() < deadline:
            reads = any(thread.is_alive() for thread in intake)
            if not reads and self._holding.only_waiting():
                return
            self._control.wait_beyond(Intent.DRAIN, DRAIN_STEP_SECONDS)

    def _end(self) -> int:
        fenced = self._control.intent is Intent.FENCED
        self._handler.close(kindly=self._holding.only_waiting() and not fenced)
        self._put_back(self._handler.not_begun())
        return self._leave(fenced=fenced)

    # The work of the threads.

    def _take_step(self) -> None:
        self._most_held.saw(self._holding.bytes_held)
        self._give_back()
        self._copying.mark_suspects()
        self._trickle.took(self._reclaim.retry(self._trickle.most(MOST_RETRIES)))
        with self._holding.asking() as (room, max_bytes):
            items = self._trickle.most(room)
            end = self._take(items, max_bytes) if items else ""
        if end and (len(self._holding) or self._trickle.on or not self._copying.copy()):
            self._stream.wait(end)
        elif room and not items:
            self._control.wait_beyond(Intent.WORK, IDLE_STEP_SECONDS)
        elif not room:
            self._holding.wait_for_room(IDLE_STEP_SECONDS)

    def _take(self, items: int, max_bytes: int) -> str:
        """Take items in hand. Returns the last id of the stream if it has no new ones, else ''."""
        if (recovered := self._reclaim.recover(items, max_bytes)) is not None:
            self._trickle.took(recovered)
            return ""
        if claimed := self._reclaim.claim(items, max_bytes, idle=not len(self._holding)):
            self._trickle.took(claimed)
            return ""
        return self._read(items, max_bytes)

    def _read(self, items: int, max_bytes: int) -> str:
        began = time.monotonic()
        long = (self._sizing.batch_seconds or 0) > SHORT_SECONDS
        entries, end = self._stream.read(items, max_bytes, equal_part=long)
        self._holding.read_took(time.monotonic() - began, len(entries))
        self._shares.read(all_asked=brought_all(entries, items, max_bytes))
        self._trickle.took(self._holding.add(entries))
        self._most_held.saw(self._holding.bytes_held)
        return end

    def _read_along(self) -> None:
        """Read beside the intake, where one read at a time brings less than the handler takes."""
        try:
            while self._control.working:
                self._holding.wait_for_further_room(IDLE_STEP_SECONDS)
                self._patience.with_("backlog", lambda _: self._read_further(), until=Intent.DRAIN)
        except GivenUp:
            return

    def _read_further(self) -> None:
        if self._trickle.on:
            self._control.wait_beyond(Intent.WORK, IDLE_STEP_SECONDS)
            return
        with self._holding.asking(further=True) as (items, max_bytes):
            if items and self._control.working:
                self._read(items, max_bytes)

    def _give_back(self) -> None:
        """Let other agents have the items that the handler does not come to, or only fails."""
        if self._trickle.on:
            self._reclaim.offer()
        if surplus := self._holding.surplus():
            released = self._stream.release(surplus)
            self._holding.drop(entry for entry, _ in surplus)
            log.info("surplus_given_back count=%d", released)

    def _feed(self) -> None:
        try:
            while self._control.intent <= Intent.DRAIN and self._feed_step():
                pass
        except GivenUp:
            return

    def _feed_step(self) -> bool:
        room = self._handler.wait_for_room()
        taken = self._holding.take_batches(room, IDLE_STEP_SECONDS)
        batches = [good for good in map(self._settling.refuse_unroutable, taken) if good]
        if not batches:
            if taken:
                self._holding.rest()
            return room > 0
        if self._holding.is_suspect(first := batches[0][0].id) and not self._wait_alone(first):
            self._put_back(batches)
            return False
        try:
            batches = self._begin(batches)
            submitted = not batches or self._handler.submit(batches)
        except GivenUp:
            self._put_back(batches)
            raise
        if not submitted:
            self._put_back(batches)
        return submitted

    def _wait_alone(self, suspect: str) -> bool:
        """Wait until a try that ends the pod would count for this item alone; False at a stop."""
        self._handler.wait_until_empty()
        while not self._holding.is_alone(suspect):
            if self._control.intent > Intent.DRAIN:
                return False
            time.sleep(ALONE_STEP_SECONDS)
        return True

    def _put_back(self, batches: list[list[Entry]]) -> None:
        self._holding.rest()
        for batch in reversed(batches):
            self._holding.put_back(batch)

    def _begin(self, batches: list[list[Entry]]) -> list[list[Entry]]:
        """Count the tries of items that are not new. Returns the batches without items of others."""
        entries = [entry for batch in batches for entry in batch]
        if all(entry.counted for entry in entries):
            return batches
        lost = set(
            self._patience.with_("begin", lambda _: self._stream.begin(entries), until=Intent.STOP)
        )
        self._holding.begun(entries)
        self._holding.drop(lost)
        kept = ([entry for entry in batch if entry.id not in lost] for batch in batches)
        return [batch for batch in kept if batch]

    def _commit(self) -> None:
        while True:
            try:
                with self._outbox.taking() as (items, outcomes):
                    self._settling.settle(items, outcomes)
            except GivenUp:
                return

    def _worked_on(
        self, items: list[Entry], outcomes: list[Outcome], batches: int, seconds: float
    ) -> None:
        self._progress.over("handler")
        self._sizing = self._sizing.after(len(items) // batches, seconds / batches)
        good = sum(isinstance(outcome, bytes) for outcome in outcomes)
        self._holding.tune(self._sizing.size, self._sizing.batch_seconds, good=good)
        self._copying.worked(seconds / batches)
        self._outbox.put(items, outcomes)

    def _crashed(self, batch: list[Entry], untouched: list[list[Entry]], why: str) -> None:
        self._progress.trouble("handler", why)
        self._put_back(untouched)
        self._copying.suspect(entry.id for entry in batch)
        if len(batch) > 1:
            self._holding.try_each_alone(batch)
        elif batch:
            self._holding.suspect(batch)
            self._outbox.put(batch, [Failed(why)])
