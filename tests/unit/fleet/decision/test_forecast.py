"""When a fleet's items are done, and the most that its limits let it spend."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.decision import forecast
from fleet.decision.decide import decide
from fleet.decision.values import Caps
from tests.support.examples import examples
from tests.support.factories import pod_facts, policy, snapshot

money = st.none() | st.decimals(Decimal("0.01"), 50, places=2)


def test_the_end_of_the_backlog_counts_the_pods_after_the_decision() -> None:
    pod = pod_facts(items_per_second=10.0, hourly_usd=Decimal("0.5"))
    seen = snapshot(72_000, pods=(pod,))
    decision = decide(seen, policy(max_instances=2))
    assert decision.target == 2
    done = forecast.done(seen, decision)
    assert done is not None
    assert done.left == timedelta(hours=1)
    assert done.cost_usd == 1  # an hour of two pods


def test_nobody_knows_the_end_without_items_a_pod_or_its_speed() -> None:
    slow = pod_facts()
    fast = replace(slow, items_per_second=10.0)
    for seen in (
        *(snapshot(1000, pods=(slow,)), snapshot(0, pods=(fast,)), snapshot(None, pods=(fast,))),
        snapshot(1000),
    ):
        assert forecast.done(seen, decide(seen, policy())) is None
    stopped = snapshot(1000, pods=(fast,))
    assert forecast.done(stopped, decide(stopped, policy(max_instances=0))) is None


@settings(max_examples=examples(500))
@given(money, money, money, money, st.integers(0, 20), money)
def test_the_worst_case_is_the_lowest_limit_that_holds(
    hour: Decimal | None,
    day: Decimal | None,
    hour_of_all: Decimal | None,
    day_of_all: Decimal | None,
    pods: int,
    top: Decimal | None,
) -> None:
    of_all = Caps(max_hourly_usd=hour_of_all, daily_budget_usd=day_of_all)
    limits = policy(
        max_hourly_usd=hour, daily_budget_usd=day, max_instances=pods, installation=of_all
    )
    worst = forecast.worst(limits, top_price_usd=top)
    hourly = [x for x in (hour, hour_of_all, None if top is None else pods * top) if x is not None]
    assert worst.hourly_usd == (min(hourly) if hourly else None)
    daily = [x for x in (day, day_of_all) if x is not None]
    daily += [min(hourly) * 24] if hourly else []
    assert worst.daily_usd == (min(daily) if daily else None)
