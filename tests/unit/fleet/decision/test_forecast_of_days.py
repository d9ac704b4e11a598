"""The forecast of a fleet whose money begins anew each midnight."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fleet.decision.outlook import Outlook, outlook
from fleet.decision.values import Caps, Elsewhere, Goal, Policy, Rule, Snapshot
from tests.support.factories import NOON, hours, offer_facts, policy, snapshot

ITEMS = 10_000_000  # 231 pod-hours, about $37
DAYS: dict[str, Any] = {"max_instances": 8, "spawn_per_tick": 2, "target_depth_per_pod": 1000}


def facts(**values: Any) -> Snapshot:
    """Items for days, and offers on demand for $0.16/h."""
    offers = (offer_facts("firm", hourly_usd=Decimal("0.16")),) * 8
    return snapshot(
        ITEMS, usual_items_per_second=12.0, boot_time=hours(0.03), offers=offers, **values
    )


def rules(daily: str | None = "5", **values: Any) -> Policy:
    return policy(daily_budget_usd=None if daily is None else Decimal(daily), **DAYS, **values)


def expected(seen: Snapshot, limits: Policy) -> Outlook:
    return outlook(seen, limits, replays=3)


def test_a_fleet_goes_on_when_its_budget_of_the_day_begins_anew() -> None:
    found = expected(facts(), rules())
    assert found.likely_at is not None
    assert timedelta(days=6) < found.likely_at - NOON < timedelta(days=8)
    assert 36 < found.likely_usd < 42
    assert (found.left, found.money_ends, found.held_by) == (0, 0, None)


def test_the_money_of_a_goal_does_not_end_while_a_fleet_waits_for_midnight() -> None:
    found = expected(facts(), rules(goal=Goal.BUDGET, budget_usd=Decimal(1000)))
    assert found.likely_at is not None
    assert found.money_ends == 0


def test_the_budget_of_a_day_for_all_fleets_begins_anew_too() -> None:
    others = Elsewhere(pods=1, hourly_usd=Decimal("0.05"), spent_today_usd=Decimal(5))
    limits = rules(None, installation=Caps(daily_budget_usd=Decimal(5)))
    found = expected(facts(elsewhere=others), limits)
    assert found.likely_at is not None
    assert timedelta(days=8) < found.likely_at - NOON < timedelta(days=12)


@pytest.mark.parametrize("days", [2, 29])
def test_a_deadline_that_the_budgets_of_its_days_do_not_pay_for_is_missed(days: int) -> None:
    found = expected(facts(), rules(goal=Goal.DEADLINE, drain_by=NOON + timedelta(days=days)))
    assert found.on_time == (days > 2)
    assert found.held_by == (Rule.DAILY_BUDGET_USD if days == 2 else None)


def test_a_budget_of_a_day_that_never_suffices_leaves_items_and_holds_the_fleet() -> None:
    found = expected(facts(), rules("0.5"))
    assert (found.likely_at, found.held_by, found.money_ends) == (None, Rule.DAILY_BUDGET_USD, 0)
    assert ITEMS / 2 < found.left < ITEMS
    assert 10 < found.likely_usd < 17  # thirty days of it


def test_pods_that_are_too_few_are_not_held_by_money() -> None:
    late = replace(rules("500"), goal=Goal.DEADLINE, drain_by=NOON + hours(6))
    assert (expected(facts(), late).on_time, expected(facts(), late).held_by) == (0, None)
