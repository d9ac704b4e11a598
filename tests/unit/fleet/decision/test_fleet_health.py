"""A fleet's health: each word for its facts, and the worst of them wins."""

from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from itertools import chain
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.decision.alert_facts import Cause
from fleet.decision.fleet_health import (
    RULES,
    BudgetLeft,
    FleetHealth,
    Health,
    HealthFacts,
    health_of,
)
from fleet.decision.values import Mode, Rule
from tests.support.factories import NOON, hours, seconds

HOUR: Final = {"depth": 3600, "items_per_second": 1.0, "hourly_usd": Decimal(1)}


def of(**facts: Any) -> FleetHealth:
    return health_of(HealthFacts(**{"now": NOON, **facts}))


def today(usd: str, **values: Any) -> list[BudgetLeft]:
    return [BudgetLeft(name="today's budget", usd=Decimal(usd), **values)]


@pytest.mark.parametrize(
    ("facts", "health", "because"),
    [
        ({"not_gone": 1}, Health.CANNOT_END, "1 pod is not gone"),
        ({"not_gone": 2}, Health.CANNOT_END, "2 pods are not gone"),
        ({"undecided_for": seconds(46)}, Health.UNATTENDED, "no decision for 40 s"),
        ({"undecided_for": seconds(45)}, Health.IDLE, "nothing waits"),
        ({"undecided_for": seconds(46), "period": seconds(60)}, Health.IDLE, "nothing waits"),
        ({"archived": True, "billable": 1}, Health.UNATTENDED, "archived, but a pod may bill"),
        ({"archived": True, "undecided_for": hours(9), "depth": None}, Health.IDLE, "archived"),
        ({"all_fail": True, "all_fail_because": "no disk"}, Health.FAILING, "no disk"),
        ({"failing": 3, "trouble": "no module", "ready": 2}, Health.FAILING, "no module"),
        ({"failing": 1, "trouble": "no module"}, Health.FAILING, "no module"),
        ({"failing": 2, "trouble": "x", "ready": 1, "depth": 5}, Health.WORKING, "1 pod at work"),
        ({"failing": 9, "depth": 0}, Health.IDLE, "nothing waits"),  # no pod is wanted
        ({"open": {Cause.NO_PODS: "no GPU"}, "depth": 5}, Health.FAILING, "no GPU"),
        ({"open": {Cause.NO_PODS: "x"}, "depth": 5, "ready": 1}, Health.WORKING, "1 pod"),
        ({"open": {Cause.NOT_DRAINED: "none"}, "ready": 1, "depth": 5}, Health.FAILING, "none"),
        ({"depth": None, "unknown_because": "no answer"}, Health.UNKNOWN, "no answer"),
        ({"depth": None, "mode": Mode.PAUSED}, Health.UNKNOWN, "cannot be read"),
        ({"depth": None, "mode": Mode.STOP_ALL}, Health.STOPPED, "an operator stopped it"),
        ({"depth": None, "decided": False}, Health.STARTING, "within 15 s"),
        (
            {"depth": 5, "binding": Rule.TOTAL_BUDGET_USD, "held_back": "$9 of $9"},
            Health.MONEY_OUT,
            "$9 of $9",
        ),
        (
            {**HOUR, "budgets": today("0.99"), "ready": 1},
            Health.MONEY_OUT,
            "lasts 59 min; the work lasts 1 h",
        ),
        ({**HOUR, "budgets": today("1"), "ready": 1}, Health.WORKING, "at work"),
        ({**HOUR, "budgets": today("-1"), "ready": 1}, Health.MONEY_OUT, "lasts 0 s; the work"),
        (
            {**HOUR, "budgets": today("0.5", renews=NOON + hours(0.5)), "ready": 1},
            Health.WORKING,
            "at work",
        ),
        ({"open": {Cause.BACKLOG_GROWS: "grew"}, "ready": 1, "depth": 5}, Health.LATE, "grew"),
        (
            {"depth": 5, "ready": 1, "binding": Rule.NO_OFFERS, "held_back": "none rentable"},
            Health.HELD,
            "none rentable",
        ),
        (
            {"depth": 5, "ready": 1, "binding": Rule.MIN_BUSY_PERCENT, "held_back": "busy 22 %"},
            Health.HELD,
            "busy 22 %",
        ),
        ({"depth": 5, "ready": 1, "binding": Rule.MAX_INSTANCES}, Health.WORKING, "at work"),
        ({"depth": 5, "binding": Rule.MAX_INSTANCES, "held_back": "is 0"}, Health.HELD, "is 0"),
        ({"depth": 5, "coming": 1, "binding": Rule.CANARY}, Health.STARTING, "1 pod on the way"),
        ({"depth": 5}, Health.STARTING, "items wait for a first pod"),
        ({"depth": 5, "ready": 1, "mode": Mode.PAUSED}, Health.WORKING, "at work"),
        ({"depth": 5, "mode": Mode.PAUSED, "binding": Rule.PAUSED}, Health.PAUSED, "an operator"),
        ({"installation_mode": Mode.PAUSED}, Health.PAUSED, "whole installation"),
        ({"depth": 5, "ready": 1, "billable": 1, "mode": Mode.STOP_ALL}, Health.STOPPED, "1 pod"),
        ({"installation_mode": Mode.STOP_ALL}, Health.STOPPED, "everything is stopped"),
        ({"depth": 5, "coming": 1, "installation_mode": Mode.STOP_ALL}, Health.STOPPED, "every"),
        ({"ready": 1, "billable": 1}, Health.IDLE, "1 pod may bill"),
        ({}, Health.IDLE, "nothing waits"),
        ({"failed": 1}, Health.IDLE, "nothing waits; 1 item failed"),
        ({"billable": 1, "failed": 2, "item": "row"}, Health.IDLE, "1 pod may bill; 2 rows failed"),
    ],
)
def test_a_fleets_health_is_what_its_facts_say(
    facts: dict[str, Any], health: Health, because: str
) -> None:
    found = of(**facts)
    assert (found.health, because in found.because) == (health, True), found.because


# Facts that say one thing each and exclude no other one.
SIGNS: Final[Mapping[Health, Mapping[str, Any]]] = {
    Health.CANNOT_END: {"not_gone": 1},
    Health.UNATTENDED: {"undecided_for": hours(1)},
    Health.FAILING: {"all_fail": True},
    Health.MONEY_OUT: {"budgets": today("0"), "hourly_usd": Decimal(1), "items_per_second": 1.0},
    Health.LATE: {"open": {Cause.BACKLOG_GROWS: "it grows"}},
    Health.HELD: {"binding": Rule.NO_OFFERS},
}
WORKING: Final = {"depth": 9, "ready": 1, "billable": 1}


@given(
    there=st.sets(st.sampled_from(list(SIGNS))), mode=st.sampled_from([Mode.RUNNING, Mode.PAUSED])
)
def test_the_worst_wins_whatever_else_is_so(there: set[Health], mode: Mode) -> None:
    facts = dict(chain(WORKING.items(), *(SIGNS[health].items() for health in there)))
    worst = min(there, key=lambda health: health.rank, default=Health.WORKING)
    assert of(**facts, mode=mode).health is worst


@given(
    st.builds(
        HealthFacts,
        now=st.just(NOON),
        mode=st.sampled_from(Mode),
        installation_mode=st.sampled_from(Mode),
        undecided_for=st.timedeltas(timedelta(0), hours(1)),
        depth=st.none() | st.integers(0, 10**9),
        ready=st.integers(0, 3),
        coming=st.integers(0, 3),
        not_gone=st.integers(0, 1),
        failing=st.integers(0, 4),
        trouble=st.sampled_from(["", "no module"]),
        all_fail=st.none() | st.booleans(),
        binding=st.none() | st.sampled_from(Rule),
        items_per_second=st.none() | st.floats(0, 1e6),
        hourly_usd=st.decimals(0, 10**6, places=6),
        budgets=st.sampled_from([[], today("-1"), today("5", renews=NOON + hours(1))]),
    )
)
def test_every_fleet_has_a_health_with_one_line_that_says_why(facts: HealthFacts) -> None:
    found = health_of(facts)
    assert found.because
    assert "\n" not in found.because
    worse = [rule for health, rule in RULES if health.rank < found.health.rank]
    assert all(rule(facts) is None for rule in worse)


def test_each_health_has_one_rule_in_the_order_of_the_words() -> None:
    assert [health for health, _ in RULES] == list(Health)
    assert [health for health in Health if health.needs_operator][-1] is Health.LATE
