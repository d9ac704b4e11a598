"""A fleet on a recording of offers and of items, by the decisions of production."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fleet.decision.trace import Trace, follow, priced, spells
from fleet.decision.values import Goal, Policy, Snapshot
from fleet.decision.what_if import Course, TooLittle
from tests.support.factories import NOON

SPOT, FIRM = Decimal("0.92"), Decimal("3.06")
HOUR = 3600.0


def facts(items: int, **prices: Any) -> Snapshot:
    seen = Snapshot(
        now=NOON, depth=items, usual_items_per_second=1.0, boot_time=timedelta(minutes=5),
        boot_bound=timedelta(minutes=6),
    )  # fmt: skip
    return priced(seen, **{"spot": [SPOT], "on_demand": FIRM, **prices})


def policy(**values: Any) -> Policy:
    its: dict[str, Any] = {"target_depth_per_pod": 100, "max_instances": 4, "spawn_per_tick": 4}
    return Policy(**{**its, **values})


def ran(items: int, trace: Trace, **values: Any) -> Course:
    return follow(facts(items), policy(**values), trace, rate=1.0)


def test_what_always_stands_costs_its_price_for_the_work_and_the_boots() -> None:
    course = ran(4 * 36_000, Trace(seconds=24 * HOUR, spot=[[(0.0, True)]]))
    assert course.most_pods == 4
    assert course.done_at is not None
    assert course.done_at - NOON == pytest.approx(
        timedelta(hours=10, minutes=5), abs=timedelta(minutes=2)
    )
    # 40 pod-hours of work, and for each pod a boot and a few idle minutes
    assert 40 * SPOT < course.spent_usd < Decimal("40.8") * SPOT


def test_pods_are_lost_when_the_offer_goes_and_come_back_with_it() -> None:
    trace = Trace(seconds=24 * HOUR, spot=[[(0.0, True), (HOUR, False), (3 * HOUR, True)]])
    seen = facts(4 * 36_000, on_demand=None)
    course = follow(seen, policy(), trace, rate=1.0)
    during = {
        m.pods for m in course.moments if timedelta(hours=1) < m.at - NOON < timedelta(hours=3)
    }
    assert during == {0}
    assert course.done_at is not None
    assert course.done_at - NOON == pytest.approx(
        timedelta(hours=12, minutes=10), abs=timedelta(minutes=3)
    )


def test_a_deadline_is_kept_on_demand_where_no_interruptible_offer_stands() -> None:
    trace = Trace(seconds=24 * HOUR, spot=[[(0.0, True), (HOUR, False)]])
    by = NOON + timedelta(hours=13)
    course = ran(4 * 36_000, trace, goal=Goal.DEADLINE, drain_by=by)
    assert course.done_at is not None
    assert course.done_at <= by
    assert 36 * FIRM < course.spent_usd < 40 * FIRM


def test_items_are_worked_on_as_they_come() -> None:
    came = [float(n) for n in range(0, 7200, 10)]
    trace = Trace(seconds=7200.0, came=came, counts=[5] * len(came), open_end=True)
    course = ran(0, trace)
    assert course.left == 0
    assert course.done_at is not None
    assert timedelta(minutes=119) <= course.done_at - NOON < timedelta(hours=2, minutes=10)
    assert 1 < course.pod_hours < 8  # 3,600 items; pods are never idle for two minutes


def test_nothing_is_rented_before_the_first_item_comes() -> None:
    course = ran(0, Trace(seconds=9 * HOUR, came=[8 * HOUR], counts=[300], open_end=True))
    first = next(m.at for m in course.moments if m.pods)
    assert first - NOON > timedelta(hours=7, minutes=59)
    assert len(course.moments) < 400


def test_the_same_recording_gives_the_same_course() -> None:
    trace = Trace(seconds=24 * HOUR, spot=[[(0.0, False), (HOUR, True), (2 * HOUR, False)]])
    assert ran(90_000, trace) == ran(90_000, trace)


def test_what_cannot_be_followed_is_refused() -> None:
    two = Trace(seconds=HOUR, spot=[[(0.0, True)], [(0.0, True)]])
    with pytest.raises(TooLittle, match="2 recordings of offers, but the fleet can rent 1 type"):
        ran(10, two)
    with pytest.raises(TooLittle, match="nothing can be rented"):
        follow(facts(9, spot=[], on_demand=None), policy(), Trace(seconds=HOUR), rate=1.0)


def test_looks_become_spells() -> None:
    assert spells([True, True, False, True], 195) == [(0.0, True), (390, False), (585, True)]
