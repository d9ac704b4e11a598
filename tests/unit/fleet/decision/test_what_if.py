"""What would have been: recorded ticks, decided anew with a model of pods."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest

from fleet.decision.arrivals import Arrivals
from fleet.decision.values import Goal, OfferFacts, PodFacts, Policy, Snapshot
from fleet.decision.what_if import Recorded, TooLittle, as_recorded, replay
from pods.states import BOOTING, READY

NOON = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
PERIOD = timedelta(seconds=15)
PRICE = Decimal("3.6")
POLICY = Policy(target_depth_per_pod=500, max_instances=1)
OFFER = OfferFacts(account_id=1, key="small", hourly_usd=PRICE, gpu_type="L4")
POD = PodFacts(
    pod_id=1, state=READY, hourly_usd=PRICE, age=timedelta(hours=1), gpu_type="L4", account_id=1,
    offer_key="small", ready_for=timedelta(hours=1), in_flight=64, items_per_second=1.0,
)  # fmt: skip


def an_hour(
    depth: Callable[[float], int | None], *, pods: tuple[PodFacts, ...] = (POD,), **facts: Any
) -> list[Recorded]:
    """240 ticks of a fleet whose depth goes by the seconds since noon."""
    rates = sum(p.items_per_second or 0 for p in pods) or None
    seen = Snapshot(
        now=NOON, depth=0, pods=pods, offers=(), items_per_second=rates,
        boot_time=timedelta(seconds=120), **facts,
    )  # fmt: skip
    return [
        Recorded(seen=replace(seen, now=NOON + n * PERIOD, depth=depth(15.0 * n)), policy=POLICY)
        for n in range(241)
    ]


def draining(seconds: float) -> int:
    return max(0, int(3000 - seconds))


def more(count: int) -> Callable[[Policy], Policy]:
    return lambda policy: replace(policy, max_instances=count, spawn_per_tick=count)


def with_offers(ticks: list[Recorded]) -> list[Recorded]:
    """The first tick has an offer, and the others have no room for one: the fleet is full."""
    first = replace(ticks[0], seen=replace(ticks[0].seen, offers=(OFFER,)))
    return [first, *ticks[1:]]


def test_the_model_of_what_was_is_near_to_what_was() -> None:
    ticks = an_hour(draining)
    was, model = as_recorded(ticks), replay(ticks)
    assert was.done_at == NOON + timedelta(seconds=3000)
    assert was.spent_usd == PRICE
    assert model.done_at is not None
    assert abs(model.done_at - was.done_at) <= PERIOD
    # The model ends the pod after two idle minutes; the recording kept it.
    assert model.spent_usd == pytest.approx(Decimal("3.2"), abs=Decimal("0.03"))
    assert model.most_pods == was.most_pods == 1
    assert model.pod_hours == pytest.approx(3200 / 3600, abs=0.01)


def test_three_pods_are_done_in_a_third_of_the_time_and_their_boots() -> None:
    found = replay(with_offers(an_hour(draining)), more(3))
    assert found.most_pods == 3
    assert found.done_at is not None
    # 120 s alone, then 2,880 items at 3 a second
    assert abs(found.done_at - NOON - timedelta(seconds=120 + 960)) <= 2 * PERIOD
    assert found.left == 0


def test_an_account_without_offers_starts_nothing() -> None:
    ticks = an_hour(draining, no_offers_because="nothing fits")
    assert replay(ticks, more(3)).most_pods == 1


def test_what_comes_later_comes_in_the_model_too() -> None:
    ticks = an_hour(lambda t: 1000)  # as much comes as is done
    model = replay(ticks)
    assert model.left == pytest.approx(1000, abs=16)
    faster = replay(with_offers(ticks), more(2))
    assert faster.left is not None
    assert faster.left < 30


def test_measured_rates_that_differ_make_no_items() -> None:
    """A rate that is measured too low in one gap and too high in the next adds up to nothing."""
    ticks = an_hour(lambda t: max(0, int(3000 - t + (8 if t / 15 % 2 else -8))))
    model = replay(ticks)
    assert model.done_at is not None
    assert abs(model.done_at - NOON - timedelta(seconds=3000)) <= 2 * PERIOD


def test_a_time_of_unknown_depth_is_unknown_in_the_model() -> None:
    ticks = an_hour(lambda t: None if 600 <= t < 1200 else draining(t))
    model = replay(ticks)
    unknown = [m for m in model.moments if m.depth is None]
    assert len(unknown) == 40
    assert model.done_at is not None
    assert abs(model.done_at - NOON - timedelta(seconds=3000)) <= PERIOD


def test_a_pod_that_was_taken_away_is_taken_with_its_like() -> None:
    spot = replace(POD, interruptible=True)
    ticks = an_hour(draining, pods=(spot,))
    ticks[0] = replace(
        ticks[0], seen=replace(ticks[0].seen, offers=(replace(OFFER, interruptible=True),))
    )
    for n in range(120, 241):
        ticks[n] = replace(ticks[n], seen=replace(ticks[n].seen, pods=(), no_offers_because="none"))
    found = replay(ticks, more(3))
    before = [m.pods for m in found.moments if m.at < NOON + timedelta(minutes=30)]
    after = [m.pods for m in found.moments if m.at >= NOON + timedelta(minutes=30)]
    assert max(before) == 3
    assert max(after) == 0


def test_a_long_gap_is_cut_into_steps() -> None:
    ticks = an_hour(draining)
    found = replay([ticks[0], ticks[60], ticks[-1]])
    assert len(found.moments) == 81
    assert found.done_at is not None
    assert abs(found.done_at - NOON - timedelta(seconds=3000)) <= timedelta(seconds=75)


def test_what_the_pods_spend_meets_the_budgets_of_the_policy() -> None:
    ticks = with_offers(an_hour(lambda t: 3000))

    def poor(policy: Policy) -> Policy:
        return replace(policy, total_budget_usd=Decimal("1.2"))

    found = replay(ticks, poor)
    assert found.spent_usd <= Decimal("1.2")
    assert found.moments[-1].pods == 0


def test_a_boot_costs_and_does_nothing() -> None:
    boots = replace(POD, state=BOOTING, age=timedelta(0), items_per_second=None, ready_for=None)
    ticks = an_hour(draining, pods=(boots,), usual_items_per_second=1.0)
    found = replay(ticks)
    ready = next(m.at for m in found.moments if m.ready)
    assert ready == NOON + timedelta(seconds=120)
    assert found.moments[8].spent_usd == Decimal("0.12")


@pytest.mark.parametrize(
    ("ticks", "says"),
    [
        ([], "only 0 decisions recorded"),
        (an_hour(draining)[:1], "only 1 decision recorded"),
        (an_hour(lambda _: None), "the backlog was unknown for the whole time"),
        (an_hour(draining, pods=()), "no pod showed its speed"),
    ],
)
def test_too_little_is_said(ticks: list[Recorded], says: str) -> None:
    with pytest.raises(TooLittle, match=says):
        replay(ticks)


def test_a_fleet_with_a_goal_sees_both_kinds_of_offers_in_the_model() -> None:
    spot = replace(OFFER, key="spot", interruptible=True, hourly_usd=Decimal("0.9"))
    goal = Policy(
        target_depth_per_pod=500, max_instances=4, spawn_per_tick=4, goal=Goal.DEADLINE,
        drain_by=NOON + timedelta(minutes=26),
    )  # fmt: skip
    ticks = [
        Recorded(
            seen=replace(
                tick.seen, pods=(), offers=(spot,) * 4 + (OFFER,) * 4, usual_items_per_second=1.0,
                depth=6000, boot_bound=timedelta(seconds=150),
            ),
            policy=goal,
        )
        for tick in an_hour(draining)
    ]  # fmt: skip
    # 25 min of work for four pods, and less spare time than another boot takes: all on demand
    assert replay(ticks).moments[1].hourly_usd == 4 * PRICE


def test_rows_of_a_dataset_come_when_the_depth_grows_and_not_while_pods_work_on_them() -> None:
    came = Arrivals(known=900)
    depths = (900, 900, 900, 500, 500, 700)
    ticks = [
        Snapshot(now=NOON + n * PERIOD, depth=depth, ranges=3, items_per_second=10.0)
        for n, depth in enumerate(depths)
    ]
    assert [came.between(*pair) for pair in pairwise(ticks)] == [0, 0, 0, 0, 200]
