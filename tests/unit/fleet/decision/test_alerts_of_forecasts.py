"""The alerts that the last forecast of a fleet begins and ends."""

from typing import Any

import pytest

from fleet.decision.alert_facts import (
    AlertFacts,
    Cause,
    FleetSeen,
    ForecastSeen,
    Incident,
    Severity,
)
from fleet.decision.alerts import alerts
from fleet.decision.values import Rule
from tests.support.factories import NOON, hours, seconds


def causes(*, begun: Cause | None = None, **values: Any) -> dict[str, str]:
    """The alerts of a fleet with this forecast, with their texts."""
    known: dict[str, Any] = {
        "drain_by": NOON + hours(6), "on_time": 1.0, "sure_at": NOON + hours(8), "money_ends": 0.0,
        "depth": 60_000, "left": 9_000,
    }  # fmt: skip
    opened = {}
    if begun is not None:
        opened[begun] = Incident(
            cause=begun, subject="fleet:1", severity=Severity.WARNING, text="since then"
        )
    fleet = FleetSeen(
        fleet_id=1, name="emb", alert_after=hours(24), period=seconds(15), scheduled=True,
        undecided_for=seconds(5), max_instances=4, last_tick_at=NOON,
        forecast=ForecastSeen(**{**known, **values}), open=opened,
    )  # fmt: skip
    return {i.cause.value: i.text for i in alerts(AlertFacts(now=NOON, fleets=[fleet]))}


@pytest.mark.parametrize(
    ("on_time", "begun", "expected"),
    [
        (0.79, False, True),
        (0.8, False, False),
        (0.8, True, True),
        (0.9, True, False),
        (None, True, False),
    ],
)
def test_a_deadline_that_too_few_replays_make_is_at_risk(
    on_time: float | None, begun: bool, expected: bool
) -> None:
    found = causes(on_time=on_time, begun=Cause.GOAL_AT_RISK if begun else None)
    assert ("goal_at_risk" in found) is expected


def test_the_text_says_what_would_help() -> None:
    assert causes(on_time=0.55)["goal_at_risk"] == (
        "emb: by the forecast it makes 2026-11-23 18:00 UTC in 55 % of the cases. Raise Max pods, or "
        "set Done by to 2026-11-23 20:00 UTC or later"
    )
    assert "Max pods, or let it rent more" in causes(on_time=0.1, sure_at=None)["goal_at_risk"]


def test_a_limit_on_money_that_makes_it_late_is_named() -> None:
    held = causes(on_time=0.1, held_by=Rule.DAILY_BUDGET_USD)["goal_at_risk"]
    assert "Raise Budget per day, or set Done by to" in held
    of_all = causes(on_time=0, sure_at=None, held_by=Rule.INSTALLATION_DAILY_BUDGET)
    assert of_all["goal_at_risk"].endswith("Raise Budget per day, all fleets")


@pytest.mark.parametrize(
    ("money_ends", "begun", "expected"),
    [(0.49, False, False), (0.5, False, True), (0.25, True, True), (0.24, True, False)],
)
def test_a_budget_that_ends_first_in_half_of_the_replays_is_announced(
    money_ends: float, begun: bool, expected: bool
) -> None:
    found = causes(money_ends=money_ends, begun=Cause.BUDGET_SHORT if begun else None)
    assert ("budget_short" in found) is expected


def test_a_short_budget_says_how_much_is_left_undone() -> None:
    assert causes(money_ends=0.75)["budget_short"] == (
        "emb: by the forecast its budget ends before its backlog in 75 % of the cases; about 9,000 of "
        "60,000 items are left then. Add money, or let it rent cheaper offers"
    )
