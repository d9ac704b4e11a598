"""The plan of a deadline does what the measured policy does, and what its sentences say."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.decision.plan import Choice, Task, plan
from tests.support.strategies import EXAMPLES

# Written by the policy as it was measured on the recordings of a spot market.
CASES = json.loads((Path(__file__).parent / "golden" / "plans.json").read_text())
NAMES = ("key", "usd", "spot", "room", "running", "stood")
hours = st.sampled_from([0.0, 0.05, 0.2, 1.0, 9.5, 24.0, 100.0])
choices = st.lists(
    st.builds(
        Choice,
        key=st.just(0),
        usd=st.sampled_from([0.0, 0.3, 0.92, 0.95, 3.06]),
        spot=st.booleans(),
        room=st.sampled_from([0, 1, 3, 8, 64]),
        running=st.sampled_from([0, 1, 8]),
        stood=st.sampled_from([0.0, 0.99, 1.0, 30.0]),
    ),
    max_size=4,
).map(lambda found: [replace(c, key=n) for n, c in enumerate(found)])
tasks = st.builds(
    Task,
    hours_left=st.sampled_from([-1.0, 0.0, 0.1, 0.5, 3.0, 24.0]),
    work=hours,
    waiting=hours,
    cap=st.sampled_from([0, 1, 3, 8, 64]),
    boots_under_way=st.sampled_from([0.0, 0.3]),
    boot=st.sampled_from([0.02, 0.08, 0.5]),
    net=st.sampled_from([0.1, 0.2, 1.0]),
    choices=choices,
    block=st.sampled_from([None, None, 0.25]),
)


def task(**values: Any) -> Task:
    spot = Choice(key=0, usd=0.92, spot=True, room=8)
    firm = Choice(key=1, usd=3.06, spot=False, room=8)
    defaults: dict[str, Any] = {
        "hours_left": 24.0,
        "work": 80.0,
        "waiting": 80.0,
        "cap": 8,
        "boots_under_way": 0.0,
        "boot": 5 / 60,
        "net": 0.2,
        "choices": (spot, firm),
    }
    return Task(**{**defaults, **values})


def test_no_interruptible_pod_starts_whose_boot_would_use_up_the_time_for_its_loss() -> None:
    on = Choice(key=1, usd=3.06, spot=False, room=8, running=2)
    spot = Choice(key=0, usd=0.92, spot=True, room=8)
    just = {"cap": 3, "work": 2.0, "waiting": 2.0, "choices": (spot, on)}
    there_is_time = plan(task(hours_left=1.0, **just))  # 1 pod-hour to spare
    assert there_is_time.spot[0]
    tight = plan(task(hours_left=2.25 / 3, **just))  # enough to lose one pod, not to boot it first
    assert (tight.on_demand, tight.spot[0], tight.must) == (3, 0, 2)


@pytest.mark.parametrize("case", CASES, ids=range(len(CASES)))
def test_the_plan_is_the_one_that_was_measured(case: dict[str, Any]) -> None:
    found = plan(
        Task(
            **case["task"],
            choices=[Choice(**dict(zip(NAMES, c, strict=True))) for c in case["choices"]],
        )
    )
    spot = {str(key): pods for key, pods in found.spot.items() if pods}
    assert (found.on_demand, spot) == (case["on_demand"], case["spot"])
    assert (found.spare, found.reserve) == pytest.approx((case["spare"], case["reserve"]), abs=1e-6)
    assert (found.makes_it, found.needs) == (case["makes_it"], case["needs"])
    assert found.because == case["because"]


@EXAMPLES
@given(task=tasks)
def test_a_plan_wants_no_more_pods_than_there_are_places_and_room(task: Task) -> None:
    found = plan(task)
    room = {c.key: c.room for c in task.choices}
    running = sum(c.running for c in task.choices if not c.spot)
    assert 0 <= found.on_demand <= max(task.cap, running)
    assert all(0 <= pods <= room[key] for key, pods in found.spot.items())
    assert sum(found.spot.values()) <= max(0, task.cap - found.on_demand)
    assert found.because
    assert not found.because.endswith(".")
    assert plan(task) == found


@EXAMPLES
@given(task=tasks)
def test_no_place_is_left_to_chance_that_could_not_be_saved(task: Task) -> None:
    found = plan(task)
    firm = any(not c.spot and c.room for c in task.choices)
    if task.cap and firm and found.spare >= 0:
        safe = int(found.spare / task.net + 1e-9)
        assert found.on_demand >= task.cap - safe


def test_with_time_to_spare_it_waits_for_spot_and_then_takes_it() -> None:
    none = (Choice(key=1, usd=3.06, spot=False, room=8),)
    waits = plan(task(choices=none))
    assert (waits.on_demand, waits.pods) == (0, 0)
    assert waits.because.endswith("12 min for the last boot: waits for spot")
    assert plan(task()).spot == {0: 8}


def test_too_few_places_are_named_before_money_is_spent() -> None:
    late = plan(task(hours_left=10.0, work=110.4))
    assert late.because == ("cannot make it: needs 12 pods, cap 8; 13.8 h left to do, 10.0 h to go")
    assert not late.makes_it


def test_a_deadline_that_has_passed_is_named() -> None:
    assert plan(task(hours_left=-2.0)).because == (
        "the deadline has passed: 10.0 h left to do with 8 pods"
    )


def test_pods_on_demand_make_way_only_if_that_pays_for_the_boots() -> None:
    spot = Choice(key=0, usd=0.92, spot=True, room=8)
    firm = Choice(key=1, usd=3.06, spot=False, room=8, running=8)
    assert plan(task(choices=(spot, firm))).on_demand == 0
    nearly = replace(spot, usd=3.0)
    assert plan(task(choices=(nearly, firm))).on_demand == 8


def test_running_pods_move_only_to_an_offer_that_has_stood_for_an_hour() -> None:
    dear = Choice(key=0, usd=1.5, spot=True, room=8, running=8)
    new = Choice(key=1, usd=0.5, spot=True, room=8, stood=0.9)
    firm = Choice(key=2, usd=3.06, spot=False, room=8)
    assert plan(task(choices=(dear, new, firm))).spot == {0: 8, 1: 0}
    settled = replace(new, stood=1.0)
    assert plan(task(choices=(dear, settled, firm))).spot == {0: 0, 1: 8}
