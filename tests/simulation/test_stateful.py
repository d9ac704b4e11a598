"""Hypothesis chooses the faults, and finds the shortest sequence that breaks an invariant."""

from contextlib import ExitStack
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

from fleet import operating
from fleet.decision.values import Mode
from fleet.models import Fleet, Limits
from pods.base import clock
from pods.emulators.base import SteppedClock
from tests.simulation.databases import CleanDatabase
from tests.simulation.day import Day
from tests.simulation.draws import Draws
from tests.simulation.plan import STEP, FaultPlan
from tests.simulation.redis_faults import DOWN, LOSES_ANSWERS
from tests.simulation.worker import FROZEN_SECONDS, LAST_CALL

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.usefixtures("quiet")]
ROUTES = st.tuples(st.integers(0, 1), st.integers(0, 3))  # a vendor, and a kind of request
EDITS = st.one_of(
    st.builds(lambda n: {"max_instances": n}, st.integers(0, 4)),
    st.builds(lambda n: {"spawn_per_tick": n}, st.integers(1, 3)),
    st.builds(lambda m: {"mode": m.value}, st.sampled_from(Mode)),
    st.builds(lambda u: {"max_hourly_usd": u}, st.sampled_from(["0.3", "0.7", None])),
    st.builds(lambda a: {"idle_action": a}, st.sampled_from(["stop", "destroy"])),
    st.builds(lambda p: {"min_busy_percent": p}, st.sampled_from([0, 50, 100])),
)


class FaultSequence(RuleBasedStateMachine):
    """A fleet at two vendors; each step checks the invariants, the end checks that it settles."""

    url: str

    @initialize(backlog=st.integers(0, 60))
    def begin(self, backlog: int) -> None:
        self.database, self.stack = CleanDatabase(), ExitStack()
        self.database.restore()
        time = SteppedClock()
        with clock.use(time):
            self.day = Day(Draws(0), time, self.url, FaultPlan(fleets=2))
        self.day.draws.faults_on = False  # only the rules cause faults
        self.stack.enter_context(self.day.patched())
        self.day.prepare()
        for agents in self.day.agents:
            agents.add_items(backlog)

    @rule(count=st.integers(1, 6))
    def time_passes(self, count: int) -> None:
        self.day.pace = STEP
        for _ in range(count):
            self.day.step()

    @rule(at=st.integers(1, LAST_CALL), frozen=st.sampled_from([0, 0, *FROZEN_SECONDS]))
    def next_task_is_killed_or_frozen(self, at: int, frozen: int) -> None:
        self.day.worker.next_end = (at, frozen)

    @rule(which=ROUTES, done=st.booleans(), times=st.integers(1, 3))
    def calls_are_lost(self, which: tuple[int, int], done: bool, times: int) -> None:
        vendor = self.day.vendors[which[0]]
        route, faults = vendor.routes[which[1]], vendor.desk.faults
        lose = faults.lose_answer if done else faults.lose_request
        lose(route.method, route.path, times=times)

    @rule(which=ROUTES, status=st.sampled_from([500, 503, 429, 401]), times=st.integers(1, 3))
    def calls_are_refused(self, which: tuple[int, int], status: int, times: int) -> None:
        vendor = self.day.vendors[which[0]]
        route = vendor.routes[which[1]]
        vendor.desk.faults.answer(route.method, route.path, vendor.error_reply(status), times=times)

    @rule(failure=st.sampled_from([DOWN, LOSES_ANSWERS, ""]))
    def redis_fails(self, failure: str) -> None:
        self.day.servers[0].failure = failure

    @rule(which=st.integers(0, 1), changes=EDITS)
    def an_operator_edits(self, which: int, changes: dict[str, Any]) -> None:
        fleet = self.day.agents[which].fleet
        operating.edit(Fleet.objects.get(pk=fleet.pk), changes, by="operator")
        self.day.invariants.edited()

    @rule(most=st.sampled_from([1, 2, 3, None]))
    def an_operator_limits_the_installation(self, most: int | None) -> None:
        limits = Limits.get()
        limits.max_instances = most
        limits.save()
        self.day.invariants.edited()

    @rule(which=st.integers(0, 1), count=st.integers(1, 60))
    def work_arrives(self, which: int, count: int) -> None:
        if not self.day.servers[0].failure:
            self.day.agents[which].add_items(count)

    @rule(which=st.integers(0, 1), far=st.booleans())
    def pods_wait_for_their_links_or_work(self, which: int, far: bool) -> None:
        self.day.agents[which].move_away(far=far)

    @rule(vendor=st.integers(0, 1), seconds=st.sampled_from([40, 600]))
    def the_next_destroyed_machine_lives_on(self, vendor: int, seconds: int) -> None:
        self.day.vendors[vendor].hide_next(seconds)

    @rule(vendor=st.integers(0, 1), which=st.integers(0, 3))
    def a_machine_is_deleted_in_the_console(self, vendor: int, which: int) -> None:
        mine = self.day.vendors[vendor]
        living = [m for m in mine.machines() if m.id not in mine.foreign and not mine.hidden(m.id)]
        if living:
            mine.end(living[which % len(living)].id)

    def teardown(self) -> None:
        if hasattr(self, "stack"):
            with self.stack:
                self.day.settle()
            self.database.restore()


def run(url: str, *, examples: int, steps: int) -> None:
    FaultSequence.url = url
    run_state_machine_as_test(
        FaultSequence,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


@pytest.mark.timeout(120)
def test_no_short_sequence_of_faults_breaks_an_invariant(redis_url: str) -> None:
    run(redis_url, examples=10, steps=12)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_no_sequence_of_faults_breaks_an_invariant(redis_url: str) -> None:
    run(redis_url, examples=300, steps=40)
