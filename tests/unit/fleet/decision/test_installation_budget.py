"""Fleets that share the installation's budget of a day, and decide at the same time."""

from decimal import Decimal

import pytest

from fleet.decision.decide import decide
from fleet.decision.guardrails import wind_down
from fleet.decision.values import Caps, Elsewhere, PodFacts
from pods.states import DRAINING
from tests.support.factories import pod_facts, policy, seconds, snapshot

TICK_SECONDS = 15
POD_USD = Decimal("0.5")  # per hour
BUDGET = Decimal(20)


def bill_usd(pods: list[PodFacts], *, for_seconds: float) -> Decimal:
    return sum((p.hourly_usd for p in pods), Decimal(0)) * Decimal(for_seconds) / 3600


@pytest.mark.parametrize("count", [1, 2, 5, 10])
def test_fleets_that_retire_at_once_end_only_when_the_money_for_their_drains_is_due(
    count: int,
) -> None:
    """Each takes the others as fixed, so they may all retire, but not before the last minutes."""
    rules = policy(installation=Caps(daily_budget_usd=BUDGET), drain_within=seconds(60))
    fleets = [[pod_facts(n, hourly_usd=POD_USD) for n in range(6)] for _ in range(count)]
    ends: dict[tuple[int, int], float] = {}
    last = bill_usd([p for f in fleets for p in f], for_seconds=wind_down(rules).total_seconds())
    spent, now = BUDGET - last - bill_usd(fleets[0], for_seconds=120) * count, 0.0
    first_left = None
    while any(fleets) and now < 3600:
        began = spent
        decisions = [
            decide(
                snapshot(
                    10_000,
                    pods=tuple(pods),
                    offers=(),
                    spent_today_usd=began / count,
                    elsewhere=Elsewhere(
                        pods=sum(map(len, fleets)) - len(pods),
                        hourly_usd=sum(
                            (p.hourly_usd for f in fleets for p in f if f is not pods), Decimal(0)
                        ),
                        spent_today_usd=began - began / count,
                    ),
                ),
                rules,
            )
            for pods in fleets
        ]
        for number, decision in enumerate(decisions):
            leaving = {r.pod_id for r in decision.retire}
            if leaving and first_left is None:
                first_left = BUDGET - began
            ends.update({(number, pod_id): now + 60 for pod_id in leaving})
            fleets[number] = [
                pod_facts(p.pod_id, DRAINING, hourly_usd=POD_USD) if p.pod_id in leaving else p
                for p in fleets[number]
            ]
        spent += sum((bill_usd(f, for_seconds=TICK_SECONDS) for f in fleets), Decimal(0))
        now += TICK_SECONDS
        fleets = [
            [p for p in pods if ends.get((number, p.pod_id), now + 1) > now]
            for number, pods in enumerate(fleets)
        ]
    assert not any(fleets)
    assert spent <= BUDGET
    assert first_left is not None
    assert first_left <= last  # never while the money pays for more than the drains
    assert BUDGET - spent < last  # so that no more than that is left over
