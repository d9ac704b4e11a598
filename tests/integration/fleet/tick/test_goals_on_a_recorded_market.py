"""Fleets with a goal and real agents, on a market whose interruptible machines go as was recorded.

All clocks run SPEED times as fast: those of the vendors, the manager and the agents. So an hour of the
recording takes three minutes, all windows of Podfleet have their real values, and so have all prices.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Any, Final

import pytest

from fleet import operating
from fleet.decision.values import Goal
from fleet.models import Fleet
from fleet.money import spending
from pods.base import clock
from pods.models import Pod
from pods.rules import PodRule
from pods.states import ENDED
from tests.support.emulated_market import FastAgents, Market, market

pytestmark = [pytest.mark.django_db, pytest.mark.slow, pytest.mark.one_database]

RECORDING: Final = Path(__file__).parents[3] / "support/recordings/recorded_market.json"
PODS: Final = 3
ITEM_SECONDS: Final = 2.5  # of a pod, whose overhead does not add up
FOR_MONEY: Final = (PodRule.BUDGET_USD.value, PodRule.GOAL.value)
MINUTE: Final = timedelta(minutes=1)
HOUR: Final = timedelta(hours=1)


@dataclass(slots=True, kw_only=True)
class Recorded:
    """A market whose interruptible machines come and go as in the recording."""

    made: Market
    told: dict[str, Any]
    began: datetime = field(default_factory=clock.utcnow)
    there: bool = True
    longest_step: timedelta = timedelta(0)

    @property
    def fleet(self) -> Fleet:
        return Fleet.objects.get(pk=self.made.fleet.pk)

    def run(self, until: Callable[[], Any], *, at_most: timedelta) -> None:
        """Run manager and market until this holds, or for so long on their clock."""
        pause, end = Event(), clock.utcnow() + at_most
        while not until() and (before := clock.utcnow()) < end:
            self._follow()
            self.made.step()
            pause.wait(0.1)
            self.longest_step = max(self.longest_step, clock.utcnow() - before)

    def _follow(self) -> None:
        step = int((clock.utcnow() - self.began) / timedelta(seconds=self.told["step_seconds"]))
        there = self.told["there"][min(step, len(self.told["there"]) - 1)] == "1"
        if there == self.there:
            return
        self.there, vast = there, self.made.vast.market
        with self.made.vast_server.lock:
            for slot in vast.slots:
                if there:
                    vast.rival_leaves(slot)
                else:
                    vast.rival_rents(slot)

    @property
    def left(self) -> int:
        [group] = self.made.redis.xinfo_groups(self.made.fleet.stream)
        return int(group["lag"] or 0) + int(group["pending"])

    def end(self) -> list[Pod]:
        """Wait until all pods are proved gone; return those that were rented."""
        gone = lambda: not Pod.objects.exclude(state__in=ENDED).exists()  # noqa: E731
        self.run(gone, at_most=20 * MINUTE)
        assert gone(), self.made.told()
        return list(Pod.objects.exclude(external_id=None).order_by("pk"))


@pytest.fixture
def recorded(tmp_path: Path, redis_url: str) -> Iterator[Recorded]:
    told = json.loads(RECORDING.read_text())
    firm, spot = (Decimal(told[name]) for name in ("on_demand_usd", "interruptible_usd"))
    settings = {
        "max_instances": PODS, "spawn_per_tick": PODS, "boot_seconds": 600, "drain_seconds": 60,
        "idle_seconds": 60, "handler": "pods.agent.handlers.pace:sleep",
        "handler_env": {"PACE_RATE": str(1 / ITEM_SECONDS)},
    }  # fmt: skip
    with market(
        tmp_path, redis_url, community=PODS, agents=FastAgents(tmp_path), **settings
    ) as made:
        made.surveyed_every = MINUTE
        made.runpod.catalog[0].community_usd = firm
        for slot in made.vast.market.slots:
            slot.gpu_usd, slot.min_bid = firm + 1, spot
        made.survey()
        yield Recorded(made=made, told=told)


def enqueue(recorded: Recorded, pod_minutes: float) -> list[str]:
    return recorded.made.enqueue(round(pod_minutes * 60 / ITEM_SECONDS), 0)


def check_bills(recorded: Recorded, pods: list[Pod]) -> Decimal:
    """What the vendors bill, with which the ledger agrees.

    A beginning and an end are booked when they are seen, so at most the longest step of this test later.
    """
    made = recorded.made
    assert {p.external_id for p in pods} == {
        *made.runpod.bill.machines(),
        *made.vast.market.bill.machines(),
    }
    for pod in pods:
        unseen = pod.hourly_usd * Decimal(2 * recorded.longest_step / HOUR)
        assert abs(made.booked(pod) - made.billed(pod)) <= unseen, (pod.provider, pod.because)
    return sum(map(made.billed, pods), Decimal(0))


def test_a_fleet_with_a_deadline_meets_it_on_both_kinds_of_pods(recorded: Recorded) -> None:
    work, by = 90 * MINUTE, clock.utcnow() + 70 * MINUTE
    entries = enqueue(recorded, work / MINUTE)
    changes = {"goal": Goal.DEADLINE.value, "drain_by": by.isoformat()}
    operating.edit(recorded.fleet, changes, by="operator")
    recorded.run(lambda: not recorded.left, at_most=100 * MINUTE)
    assert clock.utcnow() <= by
    pods = recorded.end()
    assert {pod.interruptible for pod in pods if pod.done} == {True, False}
    firm_alone = Decimal(recorded.told["on_demand_usd"]) * Decimal(work / HOUR)
    assert check_bills(recorded, pods) < firm_alone
    assert set(recorded.made.results()) == set(entries)


def test_a_fleet_with_a_budget_ends_within_it_and_uses_it_up(recorded: Recorded) -> None:
    recorded.began -= 4 * timedelta(seconds=recorded.told["step_seconds"])  # then it is gone sooner
    enqueue(recorded, 300)
    budget, pods = Decimal("0.45"), recorded.fleet.pods
    changes = {"goal": Goal.BUDGET.value, "budget_usd": str(budget)}
    operating.edit(recorded.fleet, changes, by="operator")

    def is_spent() -> bool:
        """A pod was ended because of the money, and all are proved gone."""
        ended = pods.filter(retire_rule__in=FOR_MONEY).exists()
        return ended and not pods.exclude(state__in=ENDED).exists()

    recorded.run(is_spent, at_most=100 * MINUTE)
    rented = recorded.end()
    billed = check_bills(recorded, rented)
    spent = spending.spent(clock.utcnow(), fleet_id=recorded.fleet.pk).total
    assert max(spent, billed) <= budget
    assert min(spent, billed) >= Decimal("0.8") * budget  # the rest pays for the end of a pod
    assert len([pod for pod in rented if pod.done]) > 1  # also what was left after a loss
    of_work = sum(p.hourly_usd * Decimal(p.done * ITEM_SECONDS / 3600) for p in rented)
    assert of_work >= billed / 2
