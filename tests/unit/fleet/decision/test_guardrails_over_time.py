"""Many ticks in a row, with edits, new prices and faults between them, never pass a guardrail."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.decision.decide import decide
from fleet.decision.values import Caps, Decision, Elsewhere, Mode, PodFacts, Policy, Snapshot
from pods.states import (
    BILLABLE,
    BOOTING,
    CREATING,
    DRAINING,
    MOVES,
    READY,
    REQUESTED,
    TERMINATING,
    PodState,
)
from tests.support.examples import examples
from tests.support.factories import NOON, hours, offer_facts, policy

Draw = Callable[[st.SearchStrategy[Any]], Any]
PRICES = ["0", "0.05", "0.34", "0.340001", "0.99", "2.5"]
CAPS = ["0.33", "0.34", "0.68", "1", "1.02", "2.5", "4"]
TICK = timedelta(seconds=15)
HOUR = Decimal(3600)
# How the state of a pod can change by itself between two ticks.
LATER = {REQUESTED: CREATING, CREATING: BOOTING, BOOTING: READY, DRAINING: TERMINATING}

prices = st.sampled_from(PRICES).map(Decimal)
caps = st.none() | st.sampled_from(CAPS).map(Decimal)


@dataclass
class World:
    """A fleet without a database: its pods and its spending."""

    policy: Policy
    pods: list[PodFacts] = field(default_factory=list)
    spent: Decimal = Decimal(0)
    born: int = 0

    @property
    def hourly_usd(self) -> Decimal:
        return sum((p.hourly_usd for p in self.pods), Decimal(0))

    def seen(self, draw: Draw, depth: int | None) -> Snapshot:
        offers = [
            offer_facts(f"o{n}", hourly_usd=draw(prices)) for n in range(draw(st.integers(0, 6)))
        ]
        return Snapshot(
            now=NOON, depth=depth, pods=tuple(self.pods), offers=tuple(offers),
            spent_today_usd=self.spent, spent_total_usd=self.spent, proven=draw(st.booleans()),
            elsewhere=Elsewhere(pods=draw(st.integers(0, 2)), hourly_usd=draw(prices)),
        )  # fmt: skip

    def apply(self, decision: Decision) -> None:
        gone = {r.pod_id for r in decision.retire}
        self.pods = [
            replace(p, state=FATES.get(p.state, p.state)) if p.pod_id in gone else p
            for p in self.pods
            if not (p.pod_id in gone and p.state is REQUESTED)
        ]
        for offer in decision.spawn:
            self.born += 1
            self.pods.append(
                PodFacts(
                    pod_id=self.born, state=REQUESTED, hourly_usd=offer.hourly_usd, age=timedelta(0)
                )
            )

    def pass_time(self, draw: Draw) -> None:
        """Each pod moves on, or not; some bill ends; money is spent; a vendor changes a price."""
        elapsed = draw(st.sampled_from([TICK, timedelta(hours=1), timedelta(hours=7)]))
        self.spent += self.hourly_usd * Decimal(elapsed.total_seconds()) / HOUR
        moved = []
        for pod in self.pods:
            fate = draw(st.sampled_from(["stays", "moves", "ends", "falls ill"]))
            if fate == "ends" and pod.state in {TERMINATING, CREATING}:
                continue
            state = LATER.get(pod.state, pod.state) if fate == "moves" else pod.state
            if fate == "falls ill":
                state = FATES.get(pod.state, pod.state)
            moved.append(replace(pod, state=state, age=pod.age + elapsed))
        self.pods = moved


# The state of a pod after its retirement, as pods/teardown.py sets it.
FATES: dict[PodState, PodState] = {READY: DRAINING, BOOTING: TERMINATING}


def edited(draw: Draw, now: Policy) -> Policy:
    """The policy after an operator changed one value, or none."""
    policy_now: Policy = draw(
        st.sampled_from(
            [
                now,
                replace(now, max_instances=draw(st.integers(0, 6))),
                replace(now, spawn_per_tick=draw(st.integers(1, 4))),
                replace(now, max_hourly_usd=draw(caps)),
                replace(now, daily_budget_usd=draw(caps)),
                replace(now, total_budget_usd=draw(caps)),
                replace(now, mode=draw(st.sampled_from(list(Mode)))),
                replace(now, installation_mode=draw(st.sampled_from(list(Mode)))),
                replace(
                    now,
                    installation=Caps(
                        max_instances=draw(st.none() | st.integers(0, 6)),
                        max_hourly_usd=draw(caps),
                        daily_budget_usd=draw(caps),
                    ),
                ),
            ]
        )
    )
    return policy_now


def check(world: World, before: Snapshot, decision: Decision) -> None:
    """Check the limits after a tick that started pods, and what a tick must never do."""
    rule = world.policy
    assert len(decision.spawn) <= rule.spawn_per_tick
    if not decision.spawn:
        return
    assert before.depth is not None
    assert {rule.mode, rule.installation_mode} == {Mode.RUNNING}
    assert len(world.pods) <= rule.max_instances
    everywhere = world.hourly_usd + before.elsewhere.hourly_usd
    if rule.max_hourly_usd is not None:
        assert world.hourly_usd <= rule.max_hourly_usd
    for budget in (rule.daily_budget_usd, rule.total_budget_usd):
        if budget is not None:
            assert world.spent + world.hourly_usd <= budget  # the budget pays for one more hour
    if rule.installation.max_instances is not None:
        assert len(world.pods) + before.elsewhere.pods <= rule.installation.max_instances
    if rule.installation.max_hourly_usd is not None:
        assert everywhere <= rule.installation.max_hourly_usd
    if rule.installation.daily_budget_usd is not None:
        assert world.spent + everywhere <= rule.installation.daily_budget_usd


@settings(max_examples=examples(700), deadline=None)
@given(st.data())
def test_no_guardrail_is_passed_whatever_edits_prices_and_ticks_do(data: st.DataObject) -> None:
    draw = data.draw
    world = World(policy=policy(max_instances=3, spawn_per_tick=2, idle_after=hours(9)))
    for state in draw(st.lists(st.sampled_from(sorted(BILLABLE)), max_size=3)):
        world.born += 1
        world.pods.append(
            PodFacts(pod_id=world.born, state=state, hourly_usd=Decimal(0), age=timedelta(0))
        )
    for _ in range(draw(st.integers(1, 6))):
        world.policy = edited(draw, world.policy)
        before = world.seen(draw, draw(st.sampled_from([None, 0, 150, 10_000])))
        decision = decide(before, world.policy)
        world.apply(decision)
        check(world, before, decision)
        world.pass_time(draw)


def test_the_moves_of_this_test_are_those_of_the_table() -> None:
    for before, after in {**FATES, **LATER}.items():
        assert after in MOVES[before]
