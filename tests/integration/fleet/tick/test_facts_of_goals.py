"""What the rows of pods say to a goal: boots, and interruptible pods that were taken away."""

from typing import Any

import pytest

from fleet.decision.placement import NOTHING_KNOWN
from fleet.decision.values import Goal
from fleet.tick import aims
from pods.states import LOST, READY, TERMINATED
from tests.support.factories import NOON, a_fleet, a_pod, hours, seconds

pytestmark = pytest.mark.django_db


def test_a_fleet_without_a_goal_reads_none_of_these_facts() -> None:
    fleet = a_fleet()
    assert aims.facts_of_goal(fleet, NOON, (), (), NOTHING_KNOWN) == {}
    fleet.goal = Goal.CHEAPEST.value
    ticks = [(NOON - seconds(15 * n), 900 - 15 * n, 0, None) for n in range(20)]
    for of_dataset, arrivals in ((False, 1.0), (True, None)):
        seen = aims.facts_of_goal(fleet, NOON, (), ticks, NOTHING_KNOWN, of_dataset=of_dataset)
        assert seen["arrivals_per_second"] == arrivals
        assert seen["boot_bound"] == seconds(fleet.boot_seconds)


@pytest.mark.parametrize(
    ("row", "longest"),
    [
        ({"ready_at": NOON, "asked_at": NOON - seconds(60)}, 60),
        ({"ready_at": NOON, "asked_at": None, "requested_at": NOON - seconds(90)}, 90),
        ({"ready_at": None, "requested_at": NOON + seconds(1)}, 30),  # it takes no boot's place
    ],
)
def test_the_bound_of_boots_is_read_from_the_pods_of_the_fleet_that_were_ready(
    monkeypatch: pytest.MonkeyPatch, row: dict[str, Any], longest: float
) -> None:
    fleet = a_fleet(boot_seconds=700)
    monkeypatch.setattr(aims, "BOOTS_READ", 1)
    assert aims._boot_bound(fleet) == seconds(700)
    monkeypatch.setattr(aims, "BOOTS_ENOUGH", 1)
    at = {"requested_at": NOON - hours(1), "asked_at": NOON - seconds(30)}
    a_pod(fleet, READY, ready_at=NOON, **at)
    a_pod(a_fleet(), READY, ready_at=NOON, asked_at=NOON - seconds(5), requested_at=NOON)
    a_pod(fleet, READY, **{"requested_at": NOON - seconds(9), **row})
    assert aims._boot_bound(fleet) == seconds(longest)


@pytest.mark.parametrize(
    ("state", "row", "lost", "lasted"),
    [
        (READY, {}, 0, 2),
        (LOST, {"ended_at": NOON - hours(72)}, 0.5, 0),
        (LOST, {"booted_at": NOON - hours(76), "ended_at": NOON - hours(72)}, 0.5, 2),
        (TERMINATED, {"ended_at": NOON, "retire_rule": "absent"}, 1, 2),
        (TERMINATED, {"ended_at": NOON, "retire_rule": "idle"}, 0, 2),
        (TERMINATED, {"ended_at": None, "retire_rule": "absent"}, 0, 2),  # it may be there still
        (LOST, {"booted_at": None, "ended_at": NOON}, 0, 0),  # it had no machine
        (LOST, {"interruptible": False, "ended_at": NOON}, 0, 0),
        (LOST, {"booted_at": NOON - aims.REMEMBERED, "ended_at": NOON}, 0, 0),
    ],
)
def test_how_many_interruptible_pods_were_taken_away_and_how_long_they_worked(
    state: Any, row: dict[str, Any], lost: float, lasted: float
) -> None:
    fleet = a_fleet()
    facts = {"interruptible": True, "booted_at": NOON - hours(2)}
    a_pod(a_fleet(), LOST, ended_at=NOON, **facts)
    a_pod(fleet, state, **{**facts, **row})
    seen = aims._interruptible(fleet, NOON)
    assert (seen["spot_lost"], seen["spot_hours"]) == (lost, lasted)
