"""The alert rules: which facts raise which alerts."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from config.env import ROOT
from fleet.decision.alert_facts import (
    AccountSeen,
    AlertFacts,
    Cause,
    FleetSeen,
    Incident,
    OrphanSeen,
    PodSeen,
    Severity,
    StopSeen,
    TickSeen,
)
from fleet.decision.alerts import alerts
from tests.support.examples import examples
from tests.support.factories import NOON, hours, seconds

DAY = hours(24)


def a_fleet_seen(**values: Any) -> FleetSeen:
    defaults = {
        "fleet_id": 1,
        "name": "emb",
        "alert_after": DAY,
        "period": seconds(15),
        "scheduled": True,
        "undecided_for": seconds(10),
        "max_instances": 4,
        "last_tick_at": NOON - seconds(10),
    }
    return FleetSeen(**{**defaults, **values})


def a_pod_seen(**values: Any) -> PodSeen:
    defaults = {
        "pod_id": 7,
        "name": "p7",
        "fleet_id": 1,
        "age": hours(1),
        "hourly_usd": Decimal("0.5"),
    }
    return PodSeen(**{**defaults, **values})


def ticks(depths: list[int | None], **values: Any) -> list[TickSeen]:
    """Ticks over the last ten minutes; the last one is 0 seconds old."""
    step = seconds(585 / (len(depths) - 1))
    defaults = {"active": 4, "ready": 4, "items_per_second": 5.0}
    return [
        TickSeen(at=NOON - step * (len(depths) - 1 - n), depth=depth, **{**defaults, **values})
        for n, depth in enumerate(depths)
    ]


def told(**facts: Any) -> list[Incident]:
    return sorted(
        alerts(AlertFacts(**{"now": NOON, "fleets": [a_fleet_seen()], **facts})),
        key=lambda f: (f.cause.value, f.subject),
    )


def causes(**facts: Any) -> list[str]:
    return [f.cause.value for f in told(**facts)]


def of_fleet(**values: Any) -> list[str]:
    return causes(fleets=[a_fleet_seen(**values)])


def test_nothing_wrong_raises_no_alert() -> None:
    assert causes(pods=[a_pod_seen()], accounts=[AccountSeen(account_id=1, name="a")]) == []


@pytest.mark.parametrize(
    ("age", "rounds"),
    [
        (DAY - seconds(1), []),
        (DAY, [1]),
        (2 * DAY - seconds(1), [1]),
        (2 * DAY, [2]),
        (5 * DAY, [5]),
    ],
)
def test_an_old_pod_is_announced_once_and_again_each_further_24_hours(
    age: timedelta, rounds: list[int]
) -> None:
    assert [f.round for f in told(pods=[a_pod_seen(age=age)])] == rounds


@given(limit=st.integers(1, 200), age=st.integers(0, 2000), step=st.integers(0, 48))
@settings(max_examples=examples(500))
def test_the_round_of_an_old_pod_never_falls_and_rises_once_a_day(
    limit: int, age: int, step: int
) -> None:
    def round_at(h: int) -> int:
        found = told(
            fleets=[a_fleet_seen(alert_after=hours(limit))], pods=[a_pod_seen(age=hours(h))]
        )
        return found[0].round if found else 0

    assert 0 <= round_at(age + step) - round_at(age) <= -(-step // 24) + 1
    assert (round_at(age) > 0) == (age >= limit)
    assert round_at(limit + age + 24) == round_at(limit + age) + 1


@pytest.mark.parametrize(
    ("spent", "expected"),
    [
        ("49.99", []),
        ("50", ["budget_50"]),
        ("79.99", ["budget_50"]),
        ("80", ["budget_80"]),
        ("100", ["budget_100"]),
        ("130", ["budget_100"]),
    ],
)
def test_only_the_highest_step_of_a_budget_is_announced(spent: str, expected: list[str]) -> None:
    assert of_fleet(spent_today_usd=Decimal(spent), daily_budget_usd=Decimal(100)) == expected
    assert of_fleet(spent_total_usd=Decimal(spent), total_budget_usd=Decimal(100)) == expected
    assert (
        causes(
            fleets=[a_fleet_seen(spent_today_usd=Decimal(spent) / 2, fleet_id=n) for n in (1, 2)],
            installation_budget_usd=Decimal(100),
        )
        == expected
    )


def test_the_daily_and_the_total_budget_are_two_subjects() -> None:
    found = told(
        fleets=[
            a_fleet_seen(
                spent_today_usd=Decimal(1),
                daily_budget_usd=Decimal(2),
                spent_total_usd=Decimal(1),
                total_budget_usd=Decimal(2),
            )
        ]
    )
    assert [f.subject for f in found] == ["fleet:1:today", "fleet:1:total"]


@pytest.mark.parametrize("binding", ["max_hourly_usd", "room", "spawn_per_tick"])
def test_a_ceiling_that_holds_in_the_last_tick_is_announced_whatever_binds(binding: str) -> None:
    held = ticks([5, 5], binding=binding, ceiling=True)
    assert of_fleet(ticks=held) == ["ceiling"]
    assert of_fleet(ticks=[*held, *ticks([5, 5])]) == []
    assert of_fleet(ticks=ticks([5, 5], binding=binding)) == []


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, []),
        ({"failures": 1, "last_error": "AuthFailed: x", "last_error_kind": "unavailable"}, []),
        ({"failures": 3, "open_until": NOON + hours(1), "last_error": "x"}, ["circuit_open"]),
        ({"failures": 3, "open_until": NOON - hours(1), "last_error": "x"}, ["circuit_open"]),
        ({"failures": 0, "open_until": NOON - hours(1)}, []),
        (
            {"failures": 1, "open_until": NOON + hours(1), "last_error_kind": "auth_failed"},
            ["credentials"],
        ),
        ({"failures": 1, "last_error_kind": "bad_secret"}, ["credentials"]),
    ],
)
def test_a_failing_account_is_announced_by_its_kind_of_error(
    values: dict[str, Any], expected: list[str]
) -> None:
    assert causes(accounts=[AccountSeen(account_id=1, name="a", **values)]) == expected


@pytest.mark.parametrize(
    ("left", "hourly", "expected"),
    [
        ("24", "1", []),
        ("23.99", "1", [Severity.WARNING]),
        ("0.99", "1", [Severity.CRITICAL]),
        ("-3", "1", [Severity.CRITICAL]),
        ("0", "0", []),
        (None, "1", []),  # unknown is not zero
    ],
)
def test_a_balance_that_lasts_less_than_a_day_is_announced(
    left: str | None, hourly: str, expected: list[Severity]
) -> None:
    account = AccountSeen(
        account_id=1,
        name="a",
        balance_usd=None if left is None else Decimal(left),
        hourly_usd=Decimal(hourly),
    )
    assert [f.severity for f in told(accounts=[account])] == expected
    old = replace(account, balance_fresh=False)
    assert causes(accounts=[old]) == []
    low = Incident(
        cause=Cause.BALANCE_LOW, subject="account:1", severity=Severity.WARNING, text="as before"
    )
    lasting = replace(old, open={Cause.BALANCE_LOW: low})
    assert [f.severity for f in told(accounts=[lasting])] == expected


def test_an_orphan_is_critical() -> None:
    orphan = OrphanSeen(orphan_id=3, name="m", account="a", hourly_usd=Decimal(1))
    assert [(f.subject, f.severity) for f in told(orphans=[orphan])] == [
        ("orphan:3", Severity.CRITICAL)
    ]


@pytest.mark.parametrize(
    ("since", "tries", "expected"),
    [
        (None, 9, []),
        (seconds(299), 9, []),
        (seconds(300), 4, []),
        (seconds(300), 5, ["destroy_fails"]),
    ],
)
def test_a_destroy_that_fails_for_long_is_announced(
    since: timedelta | None, tries: int, expected: list[str]
) -> None:
    assert causes(pods=[a_pod_seen(terminating_for=since, tries=tries)]) == expected


@pytest.mark.parametrize(("failing", "expected"), [(2, []), (3, ["boots_fail"])])
def test_three_failed_pods_in_a_row_are_announced_with_the_reason(
    failing: int, expected: list[str]
) -> None:
    found = told(fleets=[a_fleet_seen(failing=failing, trouble="pods failed (no module x)")])
    assert [f.cause.value for f in found] == expected
    assert all(f.severity is Severity.CRITICAL and "no module x" in f.text for f in found)
    assert of_fleet(failing=failing) == expected


def test_pods_that_failed_have_their_reason_while_no_pod_is_wished_for() -> None:
    found = told(fleets=[a_fleet_seen(failing=4, failing_because="no module x")])[0].text
    assert found == "emb: the last 4 pods failed before finishing an item (no module x)"


NONE = {"active": 0, "ready": 0, "items_per_second": None}


@pytest.mark.parametrize(
    ("depths", "values", "expected"),
    [
        ([9, 9, 9], {"binding": "no_offers"}, ["no_pods"]),
        ([9, 9, 9], {"binding": "max_hourly_usd"}, ["no_pods"]),
        ([9, 9, 9], {"binding": "daily_budget_usd"}, ["no_pods"]),
        ([9, 9, 9], {"binding": "installation_instances"}, ["no_pods"]),
        ([9, 9, 9], {"binding": "max_instances"}, ["no_pods"]),
        ([9, 9, 9], {"binding": "room"}, ["no_pods"]),
        ([9, 9, 9], {"spawned": 1}, ["no_pods"]),  # each is refused before the next tick
        ([9, 9, 9], {}, []),  # an override asks for none
        ([9, 0, 9], {"binding": "no_offers"}, []),
        ([9, None, 9], {"binding": "no_offers"}, []),
        ([9, 9, 9], {"binding": "paused"}, []),
        ([9, 9, 9], {"binding": "stop_all"}, []),
        ([None, None, None], {"because": "Redis does not answer"}, ["backlog_unknown"]),
        ([None, 9, None], {}, []),
    ],
)
def test_items_that_wait_for_ten_minutes_without_a_machine_are_announced(
    depths: list[int | None], values: dict[str, Any], expected: list[str]
) -> None:
    seen = ticks(depths, **{**NONE, **values})
    assert of_fleet(ticks=seen) == expected
    assert of_fleet(ticks=seen[1:]) == []  # less than the window


def test_no_machine_is_not_announced_while_one_is_there_or_its_pods_fail() -> None:
    seen = ticks([9, 9, 9], binding="no_offers", **NONE)
    assert of_fleet(ticks=[*seen[:-1], *ticks([9, 9], binding="no_offers")]) == ["no_pods"]
    booting = a_fleet_seen(ticks=ticks([9, 9, 9], binding="room", **NONE), machines=1)
    assert causes(fleets=[booting]) == []
    assert of_fleet(ticks=ticks([9, 9, 9], binding="brake", **NONE), failing=3) == ["boots_fail"]


def test_the_reason_for_no_machine_is_what_each_account_said_last() -> None:
    seen = ticks([9, 9, 9], binding="no_offers", because="nothing can be rented (a: none)", **NONE)
    [alert] = told(fleets=[a_fleet_seen(ticks=seen)])
    assert alert.text == (
        "emb: 9 items waiting for 10 min, and no pod has a machine: nothing can be rented (a: none)"
    )
    assert alert.severity is Severity.CRITICAL
    refused = ("a: NoCapacity: none left", "b: Refused: image")
    [alert] = told(fleets=[a_fleet_seen(ticks=seen, refusals=refused)])
    assert alert.text.endswith("a: NoCapacity: none left; b: Refused: image")


def test_a_fleet_that_works_but_finds_no_further_offer_is_a_warning() -> None:
    values: dict[str, Any] = {"binding": "no_offers", "because": "none", "active": 1, "ready": 1}
    [alert] = told(fleets=[a_fleet_seen(ticks=ticks([90, 80, 70], **values), machines=1)])
    assert (alert.cause, alert.severity) == (Cause.NO_PODS, Severity.WARNING)
    assert of_fleet(ticks=ticks([90, 80, 70], **values, spawned=1), machines=1) == []


@pytest.mark.parametrize(
    ("depths", "values", "expected"),
    [
        ([100, 150, 200], {}, ["backlog_grows"]),
        ([100, 105, 110], {}, []),  # within a tenth
        ([200, 150, 100], {}, []),
        ([100, 150, 200], {"active": 3}, []),  # more pods can come
        ([100, None, 200], {}, ["backlog_grows"]),
        ([None, 150, 200], {}, []),
        ([0, 0, 5], {}, ["backlog_grows"]),
    ],
)
def test_a_growing_backlog_with_all_pods_at_work_is_announced(
    depths: list[int | None], values: dict[str, Any], expected: list[str]
) -> None:
    assert of_fleet(ticks=ticks(depths, **values)) == expected


@pytest.mark.parametrize(
    ("depths", "values", "expected"),
    [
        ([9, 9, 9], {"items_per_second": 0.0}, ["not_drained"]),
        ([9, 9, 12], {"items_per_second": None}, ["not_drained"]),  # a tick without a rate
        ([9, 8, 12], {"items_per_second": None}, []),  # an item was finished
        ([9, None, 9], {"items_per_second": 0.0}, []),
        ([9, 0, 9], {"items_per_second": 0.0}, []),
        ([9, 9, 9], {"items_per_second": 0.0, "ready": 0}, []),
        ([9, 9, 9], {"items_per_second": 0.1}, []),
    ],
)
def test_a_backlog_that_ready_pods_do_not_drain_is_announced(
    depths: list[int | None], values: dict[str, Any], expected: list[str]
) -> None:
    assert of_fleet(ticks=ticks(depths, active=3, **values)) == expected


def test_ticks_of_less_than_the_window_raise_no_alert() -> None:
    assert of_fleet(ticks=ticks([100, 150, 200])[1:]) == []


@pytest.mark.parametrize(("dead", "rounds"), [(0, []), (1, [1]), (9, [1]), (10, [2]), (5000, [4])])
def test_dead_letters_are_announced_again_at_each_power_of_ten(
    dead: int, rounds: list[int]
) -> None:
    assert [f.round for f in told(fleets=[a_fleet_seen(dead=dead)])] == rounds


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"undecided_for": seconds(45)}, []),
        ({"undecided_for": seconds(46)}, ["no_tick"]),
        ({"undecided_for": seconds(46), "scheduled": False}, []),
        ({"undecided_for": seconds(46), "last_tick_at": None}, ["no_tick"]),
        ({"undecided_for": seconds(46), "period": seconds(60)}, []),
    ],
)
def test_three_periods_without_a_decision_are_announced(
    values: dict[str, Any], expected: list[str]
) -> None:
    assert of_fleet(**values) == expected


@pytest.mark.parametrize(("evicts", "expected"), [("", []), ("it deletes", ["redis_evicts"])])
def test_a_server_that_deletes_keys_is_announced(evicts: str, expected: list[str]) -> None:
    assert of_fleet(evicts=evicts) == expected


def test_a_goal_that_two_ticks_cannot_promise_is_announced_until_one_can() -> None:
    late, fine = ticks([9, 9, 9], risk="cannot make it"), ticks([9, 9, 9])
    assert of_fleet(ticks=late) == ["goal_at_risk"]
    assert of_fleet(ticks=[*fine[:2], late[2]]) == []
    opened = Incident(
        cause=Cause.GOAL_AT_RISK, subject="fleet:1", severity=Severity.WARNING, text="late"
    )
    begun = {"open": {Cause.GOAL_AT_RISK: opened}}
    assert of_fleet(ticks=[*fine[:2], late[2]], **begun) == ["goal_at_risk"]
    assert of_fleet(ticks=fine, **begun) == []
    unknown = [*late[:2], replace(fine[2], depth=None)]
    assert of_fleet(ticks=unknown, **begun) == ["goal_at_risk"]


def test_a_stop_of_everything_is_announced_with_who_and_when() -> None:
    [found] = alerts(AlertFacts(now=NOON, stop=StopSeen(by="ann", at=NOON)))
    assert (found.cause, found.subject) == (Cause.STOPPED, "installation")
    assert "since 2026-11-23 12:00:00 UTC by ann" in found.text
    [found] = alerts(AlertFacts(now=NOON, stop=StopSeen(by="", at=None)))
    assert found.text.startswith("everything is stopped: ")


def test_every_cause_is_in_the_documentation() -> None:
    page = (ROOT / "docs" / "reference" / "alerts.md").read_text()
    assert [c.value for c in Cause if f"| `{c.value}` |" not in page] == []
