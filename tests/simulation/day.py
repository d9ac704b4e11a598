"""A simulated day of a fleet: bursts of faults, and hours without faults that the clock jumps over.

The tasks are real, from beat's schedule down to the vendors' HTTP calls, and run in one thread: one
seed gives one history. Only time, the task queue, the vendors, the agents and the operators are
simulated.
"""

import os
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from random import Random
from typing import Final
from unittest import mock

import stamina
from django.db import connection
from django.db.models import Q

from fleet.models import Alert
from pods.accounts import connecting
from pods.base import clock
from pods.base.clock import utcnow
from pods.emulators.base import SteppedClock
from pods.models import Account, Installation, Pod
from pods.states import BOOTING
from tests.simulation import fleets
from tests.simulation.draws import Draws, ids_of
from tests.simulation.goal_hours import GoalHours
from tests.simulation.hosts import Hosts
from tests.simulation.invariants import HEARD_WITHIN, Invariants
from tests.simulation.limits import Violated
from tests.simulation.operators import Operators
from tests.simulation.outages import Outages
from tests.simulation.plan import STEP, FaultPlan
from tests.simulation.queueing import Beat, Queue
from tests.simulation.range_agents import RangeAgents
from tests.simulation.redis_faults import Servers, new_servers
from tests.simulation.stores import MemoryStores
from tests.simulation.vendors import KEY, RunPod, Vastai, Vendor
from tests.simulation.worker import Worker
from tests.support.factories import an_account
from tests.support.in_process import reached

HOURS: Final = 24
BURST_STEPS: Final = 6  # at least; a burst lasts until its share of the faults has happened
FEWEST_FAULTS: Final = 50  # in a day
# Seconds of a step.
TICKING: Final = 15.0  # as often as fleets are decided on
SETTLING: Final = 120.0  # until nothing is in transit
DRAINING: Final = 240.0  # while pods only work
QUIET: Final = 43_200.0  # while nothing is in transit
WORTH_A_BOOT: Final = 400  # items: an agent needs longer for them than any boot takes
FAR_STEPS: Final = 4  # while all pods wait for their links
AT_WORK_STEPS: Final = 40
FROZEN_STEPS: Final = 6  # at most, of the others while a worker is frozen
LONGEST_SETTLING: Final = timedelta(hours=1)
AT_REST_WITHIN: Final = timedelta(minutes=30)
READY_WITHIN: Final = timedelta(minutes=75)  # the longest pause after failures, and a boot
NO_ALERTS_WITHIN: Final = timedelta(hours=2, minutes=30)  # some causes look at the last two hours
NO_ALERTS_STEP: Final = 1800.0
LOOKS: Final = 6  # of TICKING: alerts are looked at in every minute
SLUG: Final = "sim"
KEY_AT: Final = "PODFLEET_SIMULATED_KEY"


class Day:
    """24 hours with faults, and an end without faults."""

    def __init__(
        self, draws: Draws, time: SteppedClock, url: str, plan: FaultPlan | None = None
    ) -> None:
        """`url`: of a Redis, whose databases are emptied."""
        self.draws, self.time, self.plan = draws, time, plan or FaultPlan()
        self.hosts = Hosts(time, draws, self.plan.hosts)
        self.worker = Worker(draws, self.hosts, self._run_others)
        self.store = MemoryStores(self.worker, draws)
        self.servers = new_servers(url, time, self.plan.servers)
        self.queue = Queue(draws, self.worker, time)
        self.vendors: list[Vendor] = [RunPod(time, draws), Vastai(time, draws)]
        self.pace = STEP
        self.goals: list[str] = []  # what became of each
        self.items_come = True  # in a burst
        self.jumped = False  # ticks came in the time that was jumped over

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Within the block this process uses the day's vendors, Redis, queue, ids and waits."""
        ids = mock.Mock(side_effect=ids_of(Random(self.draws.seed)))
        with ExitStack() as stack:
            for part in (
                clock.use(self.hosts, shared=self.time),
                reached({v.url: v.desk for v in self.vendors}, around=self._around),
                Servers(self.worker, self.servers).patched(),
                self.queue.patched(),
                self.store.patched(),
                connection.execute_wrapper(self.worker.statement),
                stamina.set_testing(True, attempts=3),
                mock.patch.dict(os.environ, {KEY_AT: KEY}),
                mock.patch.object(uuid, "uuid4", ids),
                # Pacing uses the server's time, which does not move here; it has tests of its own.
                mock.patch.object(connecting, "Pacer", return_value=None),
                mock.patch.object(connecting, "Observed", lambda provider, **_: provider),
            ):
                stack.enter_context(part)
            yield

    def _around(self, call: str) -> None:
        """A task's request to a vendor begins or has ended."""
        self.worker.call(call)
        if self.worker.at_work:
            self.operators.act_during(call)

    def prepare(self) -> None:
        """Make the rows that an operator has made before the day."""
        Installation.objects.create(pk=1, slug=SLUG)
        orphans = Account.Orphans.ADOPT if self.plan.adopts else Account.Orphans.DESTROY
        accounts = [
            an_account(
                v.name,
                name=v.name,
                options={"base_url": v.url},
                secret_ref=f"env:{KEY_AT}",
                orphans=orphans,
            )
            for v in self.vendors
        ]
        for vendor in self.vendors:
            vendor.adopts = self.plan.adopts
        more = (accounts, self.vendors, self.servers, self.draws)
        self.agents = [fleets.of_items(number, *more) for number in range(self.plan.fleets)]
        if self.plan.dataset:
            self.agents.append(fleets.of_rows(*more, self.worker))
        self.outages = [
            Outages(
                server,
                [a for a in self.agents if a.server is server],
                self.draws,
                may_die=bool(server.url),
            )
            for server in self.servers
        ]
        self.invariants = Invariants(
            self.vendors, self.agents, self.worker, clocks_differ_by=self.plan.clocks_differ_by
        )
        self.operators = Operators(
            [a.fleet for a in self.agents], self.draws, self.invariants, self.worker
        )
        self.beat = Beat(self.queue)

    def run(self) -> None:
        """Run the bursts and the hours between them, then the end without faults.

        Raises:
            Violated: an invariant did not hold, or the fleet did not settle.
            TaskFailed: a task raised an error that no task may raise.
        """
        plan = self.plan
        self.servers[0].ahead = plan.ahead
        part = timedelta(hours=HOURS) / plan.bursts
        for number in range(1, plan.bursts):
            end = utcnow() + part
            self._burst(faults=FEWEST_FAULTS * number // plan.bursts)
            self.settle()
            self._quiet(end)
        self._quiet(utcnow() + part)
        self._burst(faults=FEWEST_FAULTS)
        if plan.dataset:
            self._burst_at_work()
        if plan.goals:
            self._make_ready()
            self.goals = GoalHours(self, faults=plan.goal_faults).run()
        if self.draws.random.random() < 0.3:
            self.settle()
        self._end()

    def _burst_at_work(self) -> None:
        """Faults while pods are at work on ranges: a pod boots longer than a burst lasts."""
        self._make_ready()
        self.draws.faults_on, self.pace, self.hosts.differ = True, self.plan.step, True
        for _ in range(AT_WORK_STEPS):
            self.step()

    def _quiet(self, end: datetime) -> None:
        if self.draws.random.random() < 0.2:
            self._stop_beat(self.draws.random.randint(600, 3600))
        self.draws.faults_on, self.pace = False, QUIET
        while utcnow() < end:
            self.step()

    def step(self) -> None:
        """Run one step; it takes as many seconds as `pace` says."""
        if self.draws.faults_on:
            self._cause_faults()
        managed, self.jumped = (
            self.jumped,
            self.pace >= SETTLING and utcnow() >= self.beat.silent_until,
        )
        for agents in self.agents:
            agents.step(managed=managed)
        self.beat.send_due(draws=self.draws)
        self.queue.deliver(self._count_reconciliation)
        for agents in self.agents:
            agents.step(managed=managed)
        self.invariants.check()
        # The next quiet step is hours away; whatever this one began must not wait for it.
        waiting = self.pace == QUIET and self._unsettled()
        self.time.advance(SETTLING if waiting else self.pace)

    def _count_reconciliation(self, task: str) -> None:
        self.invariants.reconciliations += task == "pods.reconcile_account"

    def _run_others(self, seconds: float) -> None:
        """Run steps for this many seconds, while a worker is frozen."""
        end = utcnow() + timedelta(seconds=seconds)
        before, self.pace = self.pace, max(self.pace, seconds / FROZEN_STEPS)
        while utcnow() < end:
            self.step()
        self.pace = before

    def _burst(self, *, faults: int) -> None:
        plan, self.hosts.differ = self.plan, True
        self.draws.faults_on, self.draws.fault_rate, self.pace = True, plan.fault_rate, plan.step
        for agents in self.agents:
            agents.break_sometimes()
            agents.add_items(self.draws.random.randint(0, 60))
        steps = 0
        # By their numbers: a day that is run again without some of the faults has the same length.
        while steps < BURST_STEPS or self.draws.fault_numbers < faults:
            self.step()
            steps += 1

    def _cause_faults(self) -> None:
        fleets = [agents.fleet.pk for agents in self.agents]
        for vendor in self.vendors:
            vendor.cause_faults(self.draws, SLUG, fleets)
        self.operators.act_sometimes()
        for outages in self.outages:
            outages.cause_faults()
        if self.plan.dataset:
            self.store.cause_faults()
        for agents in self.agents:
            if self.items_come and self.draws.random.random() < 0.2:
                agents.add_items(self.draws.random.randint(1, 40))

    def settle(self) -> None:
        """Run without faults until nothing is in transit or unknown, within an hour (L2, L3)."""
        self._stop_faults()
        self.operators.resume()
        end = utcnow() + LONGEST_SETTLING
        for _ in range(2):  # the last tick may have failed with the last fault
            self.step()
        while self._unsettled():
            if utcnow() > end:
                left = list(Pod.objects.billable().values_list("pk", "state", "note"))
                why = f"{self.invariants.unknown} unknown, {self.invariants.missing} missing"
                raise Violated(f"L2, L3: unsettled after an hour: {left}; {why}")
            self.step()
        self._check_settled()

    def _check_settled(self) -> None:
        beats = utcnow() > self.beat.silent_until + HEARD_WITHIN
        self.invariants.check_settled(beats=beats)

    def _stop_faults(self) -> None:
        self.draws.faults_on, self.pace, self.hosts.differ = False, SETTLING, False
        self.store.stop_faults()
        for outages in self.outages:
            outages.stop()
        for vendor in self.vendors:
            vendor.stop_faults()
        for agents in self.agents:
            agents.stop_faults()

    def _unsettled(self) -> bool:
        waiting = bool(self.queue.messages or self.invariants.unknown or self.invariants.missing)
        # Where nobody can hear the agents, nobody can know whether a boot failed.
        heard = [agents.fleet.pk for agents in self.agents if not agents.server.dead]
        booting = Pod.objects.filter(state=BOOTING.value, fleet__in=heard)
        return waiting or Pod.objects.in_transit().exists() or booting.exists()

    def _stop_beat(self, seconds: float) -> None:
        """Let beat send nothing for up to an hour (F43)."""
        self.draws.record(f"beat is silent for {seconds} s")
        self.beat.silent_until = utcnow() + timedelta(seconds=seconds)
        self.invariants.beat_was_silent += timedelta(seconds=seconds)

    def _end(self) -> None:
        """Without faults and with work the fleet reaches three pods, drains the backlog, and ends."""
        self._make_ready()
        self._move_away()
        self.operators.prepare_end(spawn_per_tick=3)
        self._until(lambda: self._ready(3), "L1: not 3 READY pods of each fleet")
        self.pace = DRAINING
        self._until(lambda: not any(a.left_to_do for a in self.agents), "L4: not drained")
        self._until(lambda: not any(a.left for a in self.agents), "L4: tries do not end")
        self.operators.drop_dead_letters()
        self.pace = SETTLING
        datasets = [a for a in self.agents if isinstance(a, RangeAgents)]
        self._until(lambda: all(a.finished for a in datasets), "S17: a dataset is not finished")
        self._until(
            lambda: not Pod.objects.billable().exists() and not self.invariants.unknown,
            "L2, L3, L5: not at rest",
        )
        self._until(self._no_alerts, "L6: alerts or breakers are open", within=NO_ALERTS_WITHIN)
        self._check_settled()
        for agents in datasets:
            agents.check_end()

    def _make_ready(self) -> None:
        """Stop all faults, and run until each fleet has a READY pod."""
        self._stop_faults()
        for outages in self.outages:
            outages.start_again()
        for agents in self.agents:
            agents.mend_handler()
        self.operators.prepare_end(spawn_per_tick=1)
        self.draws.record("the faults stop")
        for vendor in self.vendors:
            vendor.restock()
        self.step()  # agents first work through the time before, then new items come
        self._until(
            lambda: self._ready(1), "L1: not 1 READY pod of each fleet", within=READY_WITHIN
        )

    def _move_away(self) -> None:
        """Let all pods wait for their links for a while: no further pod starts meanwhile (S3)."""
        for far in (True, False):
            for agents in self.agents:
                agents.move_away(far=far)
            for _ in range(FAR_STEPS if far else 0):
                self._ready(3)
                self.step()

    def _ready(self, count: int) -> bool:
        """Whether so many pods of each fleet are READY; adds items, so that one more is worth its boot."""
        for agents in self.agents:
            agents.add_items(max(0, WORTH_A_BOOT - agents.left))
        ready = Counter(Pod.objects.filter(state="ready").values_list("fleet_id", flat=True))
        return all(ready[agents.fleet.pk] >= count for agents in self.agents)

    def _no_alerts(self) -> bool:
        self.pace = TICKING
        # In a long step alerts may be looked at before the ticks. Then the ticks look late.
        for _ in range(LOOKS):
            self.step()
        self.pace = NO_ALERTS_STEP
        breakers = Account.objects.filter(Q(open_until__gt=utcnow()) | Q(failures__gt=0))
        return not Alert.objects.open().exists() and not breakers.exists()

    def _until(
        self, holds: Callable[[], bool], why: str, *, within: timedelta = AT_REST_WITHIN
    ) -> None:
        end = utcnow() + within
        while not holds():
            if utcnow() > end:
                left: list[object] = [
                    *Pod.objects.billable().values_list("pk", "state", "because", "note")
                ]
                left += Alert.objects.open().values_list("cause", "text")
                raise Violated(f"{why} within {within}: {left}")
            self.step()
