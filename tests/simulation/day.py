"""A day of a fleet: bursts of faults with quiet between them, on a clock that jumps over the quiet.

The real tasks, from beat's schedule down to the vendors' HTTP calls, in one thread: one seed is one
history. Only time, the task queue, what happens at the vendors and the agents are simulated.
"""

import os
import uuid
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any, Final
from unittest import mock

import redis
import stamina
from django.db import connection
from django.db.models import Q

from fleet import operating
from fleet.models import Alert
from pods.accounts import connecting
from pods.base import clock
from pods.base.clock import utcnow
from pods.emulators.base import SteppedClock
from pods.models import Account, Installation, Pod
from pods.states import BOOTING
from tests.simulation.agents import Agents
from tests.simulation.databases import Fresh
from tests.simulation.dice import Dice
from tests.simulation.invariants import Invariants, Violated
from tests.simulation.operators import Operators
from tests.simulation.queueing import Beat, Queue
from tests.simulation.redis_time import DEAF, DOWN, FULL, RedisTime
from tests.simulation.vendors import IMAGE, RunPod, Vastai, Vendor
from tests.simulation.worker import Broke, Worker
from tests.support.factories import a_fleet, an_account
from tests.support.in_process import reached

HOURS: Final = 24
BURST_STEPS: Final = 6  # at least; a burst goes on until its share of the faults has happened
FEWEST_FAULTS: Final = 50  # of a day
STEP: Final = 5.0  # seconds, within a burst
SETTLING: Final = 120.0
DRAINING: Final = 240.0  # while nothing but work goes on
QUIET: Final = 43_200.0
WORTH_A_BOOT: Final = 400  # items: at the pace of an agent they last for longer than any boot
CLOCKS: Final = (0, 0, 0, 600, -600)  # seconds by which a Redis is ahead of the manager (F31)
FROZEN_STEPS: Final = 6  # of the others, while a worker stands still
LONGEST_SETTLING: Final = timedelta(hours=1)
AT_REST_WITHIN: Final = timedelta(minutes=30)
SILENT_WITHIN: Final = timedelta(hours=2, minutes=30)  # some causes are of the last two hours
SILENT_STEP: Final = 900.0
KEY: Final = "any-key-is-good-0123456789"
KEY_AT: Final = "PODFLEET_SIMULATED_KEY"
FLEET: Final = {
    "name": "emb",
    "image": IMAGE,
    "max_instances": 3,
    "target_depth_per_pod": 10,
    "idle_seconds": 60,
    "drain_seconds": 20,
    "boot_seconds": 300,
    "disk_gb": 40,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Lived:
    """What a day came to."""

    seed: int
    faults: int
    fault_numbers: int  # the spared ones included
    hours: float
    pods: int
    fingerprint: str  # of the story: the same seed gives the same one
    violation: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Weather:
    """How the faults of a day come: in one storm or in three squalls, at a stroke or spread out."""

    bursts: int
    fury: float  # how many times likelier than usual each fault is
    step: float  # seconds between two looks within a burst
    ahead: timedelta  # the clock of the Redis, of the manager's

    @classmethod
    def drawn(cls, dice: Random) -> "Weather":
        """The weather of a seed."""
        return cls(
            bursts=dice.choice((1, 1, 1, 1, 2, 3)),
            fury=dice.choice((3.0, 6.0, 9.0)),
            step=dice.choice((STEP, STEP, 2 * STEP, 4 * STEP)),
            ahead=timedelta(seconds=dice.choice(CLOCKS)),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Replica:
    """What a replica knew, and its clock."""

    dumps: dict[bytes, Any]
    counts: tuple[int, int]
    ahead: timedelta


class Day:
    """Twenty-four hours and a calm end."""

    def __init__(self, dice: Dice, time: SteppedClock, client: "redis.Redis") -> None:
        self.dice, self.time, self.redis = dice, time, client
        self.worker = Worker(dice, self._meanwhile)
        self.server = RedisTime(self.worker)
        self.queue = Queue(dice, self.worker)
        self.vendors: list[Vendor] = [RunPod(time, dice), Vastai(time, dice)]
        self.pace = STEP
        self.replica: _Replica | None = None  # that will take over
        self.jumped = False  # ticks came in the time that was jumped over

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Within the block this process's vendors, Redis, queue, ids and waits are the day's."""
        ids = mock.Mock(side_effect=_ids(Random(self.dice.seed)))
        with ExitStack() as stack:
            for part in (
                clock.use(self.time),
                reached({v.url: v.desk for v in self.vendors}, around=self.worker.call),
                self.server.patched(),
                self.queue.patched(),
                connection.execute_wrapper(self.worker.statement),
                stamina.set_testing(True, attempts=3),
                mock.patch.dict(os.environ, {KEY_AT: KEY}),
                mock.patch.object(uuid, "uuid4", ids),
                # Calls are paced by the server's time, which stands still here; tests of its own.
                mock.patch.object(connecting, "Pacer", return_value=None),
                mock.patch.object(connecting, "Observed", lambda provider, **_: provider),
            ):
                stack.enter_context(part)
            yield

    def prepare(self) -> None:
        """The rows that an operator has made before the day."""
        Installation.objects.create(pk=1, slug="sim")
        accounts = [
            an_account(v.name, name=v.name, options={"base_url": v.url}, secret_ref=f"env:{KEY_AT}")
            for v in self.vendors
        ]
        self.fleet = a_fleet(accounts=accounts, **FLEET)
        operating.make_group(self.fleet)
        self.agents = Agents(self.vendors, self.fleet, self.redis, self.server, self.dice)
        self.invariants = Invariants(self.vendors, self.fleet, self.agents, self.redis, self.worker)
        self.operators = Operators(self.fleet, self.dice, self.invariants)
        self.beat = Beat(self.queue)

    def live(self, weather: Weather) -> None:
        """Each burst, and the quiet after it.

        Raises:
            Violated: an invariant did not hold, or the fleet did not settle.
            Broke: a task raised what no task may raise.
        """
        self.server.ahead = weather.ahead
        part = timedelta(hours=HOURS) / weather.bursts
        for number in range(1, weather.bursts):
            end = utcnow() + part
            self._burst(weather, faults=FEWEST_FAULTS * number // weather.bursts)
            self.settle()
            self._quiet(end)
        self._quiet(utcnow() + part)
        self._burst(weather, faults=FEWEST_FAULTS)
        if self.dice.random.random() < 0.3:
            self.settle()
        self._calm()

    def _quiet(self, end: datetime) -> None:
        if self.dice.random.random() < 0.2:
            self._beat_is_silent(self.dice.random.randint(600, 3600))
        self.dice.faulty, self.pace = False, QUIET
        while utcnow() < end:
            self.step()

    def step(self) -> None:
        """As many seconds as the pace says."""
        if self.dice.faulty:
            self._misbehave()
        managed, self.jumped = (
            self.jumped,
            self.pace >= SETTLING and utcnow() >= self.beat.silent_until,
        )
        self.agents.step(managed=managed)
        self.beat.send_due(dice=self.dice)
        self.queue.deliver(self._taken)
        self.agents.step(managed=managed)
        self.invariants.check()
        # What a quiet step has begun must not wait for the next one.
        hurry = self.pace == QUIET and self._unsettled()
        self.time.advance(SETTLING if hurry else self.pace)

    def _taken(self, task: str) -> None:
        self.invariants.reconciliations += task == "pods.reconcile_account"

    def _meanwhile(self, seconds: float) -> None:
        """What goes on while a worker stands still."""
        end = utcnow() + timedelta(seconds=seconds)
        before, self.pace = self.pace, max(self.pace, seconds / FROZEN_STEPS)
        while utcnow() < end:
            self.step()
        self.pace = before

    def _burst(self, weather: Weather, *, faults: int) -> None:
        self.dice.faulty, self.dice.fury, self.pace = True, weather.fury, weather.step
        self.agents.add_items(self.dice.random.randint(0, 60))
        steps = 0
        # By their numbers: a history that is lived again without some of them is as long.
        while steps < BURST_STEPS or self.dice.numbers < faults:
            self.step()
            steps += 1

    def _misbehave(self) -> None:
        tag = f"{Installation.tag()}-{self.fleet.pk}"
        for vendor in self.vendors:
            vendor.misbehave(self.dice, tag)
        self.operators.misbehave()
        if own := self.dice.strikes(0.02, "Redis is ill"):
            self.server.ill = own.choice([DOWN, DOWN, DEAF, FULL])
        elif self.server.ill and self.dice.random.random() < 0.4:
            self.server.ill = ""
        self.operators.spend()
        if self.dice.strikes(0.004, "Redis restarts empty"):
            self._empty_redis()
        self._fail_over()
        if self.dice.random.random() < 0.2:
            self.agents.add_items(self.dice.random.randint(1, 40))

    def _fail_over(self) -> None:
        """A replica takes over that lacks what was written since the step before (F45)."""
        if self.replica is not None:
            self.redis.flushdb()
            for key, dump in self.replica.dumps.items():
                self.redis.restore(key, 0, dump)
            self.agents.go_back(self.replica.counts)
            self.server.ahead = self.replica.ahead
            self.replica = None
        elif own := self.dice.strikes(
            0.006, "Redis fails over to a replica that lacks the next step"
        ):
            keys: list[Any] = self.redis.keys()
            self.replica = _Replica(
                dumps={key: self.redis.dump(key) for key in sorted(keys)},
                counts=self.agents.counts,
                ahead=timedelta(seconds=own.choice(CLOCKS)),
            )

    def _empty_redis(self) -> None:
        self.redis.flushdb()
        self.agents.forget_items()
        if self.dice.random.random() < 0.5:
            operating.make_group(self.fleet)

    def settle(self) -> None:
        """No faults any more: within an hour nothing is on its way and nothing unknown (L2, L3)."""
        self._faults_stop()
        self.operators.go_on()
        end = utcnow() + LONGEST_SETTLING
        while self._unsettled():
            if utcnow() > end:
                left = list(Pod.objects.in_transit().values_list("pk", "state", "note"))
                raise Violated(f"L2, L3: unsettled after an hour: {left} {self.invariants.unknown}")
            self.step()
        self.invariants.check_settled()

    def _faults_stop(self) -> None:
        self.dice.faulty, self.pace, self.server.ill, self.replica = False, SETTLING, "", None
        for vendor in self.vendors:
            vendor.calm()
        self.agents.are_heard_again()
        operating.make_group(self.fleet)

    def _unsettled(self) -> bool:
        waiting = bool(self.queue.messages or self.invariants.unknown or self.invariants.missing)
        booting = Pod.objects.filter(state=BOOTING.value)
        return waiting or Pod.objects.in_transit().exists() or booting.exists()

    def _beat_is_silent(self, seconds: float) -> None:
        """Nothing is sent for up to an hour (F43)."""
        self.dice.say(f"beat is silent for {seconds} s")
        self.beat.silent_until = utcnow() + timedelta(seconds=seconds)
        self.invariants.beat_was_silent += timedelta(seconds=seconds)

    def _calm(self) -> None:
        """With faults gone and work there the fleet is as large as it should be; then it is gone."""
        self._faults_stop()
        self.operators.calm()
        self.dice.say("calm")
        for vendor in self.vendors:
            vendor.restock()
        self.step()  # agents catch up with the quiet: what comes now they have not done yet
        self._until(self._three_work, "L1: not 3 READY pods")
        self.pace = DRAINING
        self._until(lambda: not self.agents.left, "L4: not drained")
        self.pace = SETTLING
        self._until(
            lambda: not Pod.objects.billable().exists() and not self.invariants.unknown,
            "L2, L3, L5: not at rest",
        )
        self.pace = SILENT_STEP
        self._until(self._silent, "L6: alerts or breakers are open", within=SILENT_WITHIN)
        self.invariants.check_settled()

    def _three_work(self) -> bool:
        """Whether all are READY; until then so much waits that one more pod is worth its boot."""
        self.agents.add_items(max(0, WORTH_A_BOOT - self.agents.left))
        return Pod.objects.filter(state="ready").count() == 3

    def _silent(self) -> bool:
        breakers = Account.objects.filter(Q(open_until__gt=utcnow()) | Q(failures__gt=0))
        return not Alert.objects.open().exists() and not breakers.exists()

    def _until(
        self, what: Callable[[], bool], why: str, *, within: timedelta = AT_REST_WITHIN
    ) -> None:
        end = utcnow() + within
        while not what():
            if utcnow() > end:
                left: list[object] = [
                    *Pod.objects.billable().values_list("pk", "state", "because", "note")
                ]
                left += Alert.objects.open().values_list("cause", "text")
                raise Violated(f"{why} within {within}: {left}")
            self.step()


def _ids(dice: Random) -> Iterator[uuid.UUID]:
    while True:
        yield uuid.UUID(int=dice.getrandbits(128))


def live(url: str, seed: int, fresh: Fresh, *, spared: Collection[int] = ()) -> Lived:
    """The day of a seed, without the faults of these numbers; a violation tells the story's end.

    `url`: of a Redis that is emptied; `fresh`: the database, emptied too.
    """
    fresh.restore()
    client = redis.Redis.from_url(url, protocol=2)
    client.flushall()
    time = SteppedClock()
    with clock.use(time):
        day = Day(Dice(seed, spared=spared), time, client)
    violation, started = "", time()
    with day.patched():
        day.prepare()
        try:
            day.live(Weather.drawn(Random(seed)))
        except (Violated, Broke, AssertionError) as exc:
            violation = "\n".join([f"seed {seed}: {exc}", *day.dice.story[-60:]])
        pods = Pod.objects.count()
    return Lived(
        seed=seed,
        faults=day.dice.faults,
        fault_numbers=day.dice.numbers,
        hours=(time() - started).total_seconds() / 3600,
        pods=pods,
        fingerprint=sha256("\n".join(day.dice.story).encode()).hexdigest(),
        violation=violation,
    )
