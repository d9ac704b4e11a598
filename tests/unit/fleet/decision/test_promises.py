"""A deadline that was promised stays promised and is kept, also if pods are taken away."""

from typing import Any

import pytest

from fleet.decision import goal_facts
from fleet.decision.plan import Choice, Task, plan
from fleet.decision.values import PodFacts
from pods.states import BOOTING, DRAINING, STOPPED, TERMINATING, PodState
from tests.support.factories import pod_facts, seconds
from tests.support.goals import by, on, seen
from tests.support.promising import drawn

# In these a place that waited, a slow boot or a tick once cost the promise.
FOUND = (9, 99, 122, 152, 250)


@pytest.mark.takes(10)
@pytest.mark.parametrize("seed", [*range(8), *FOUND])
def test_a_promise_lasts_while_pods_are_taken_away(seed: int) -> None:
    fleet = drawn(seed)
    kept = fleet.run()
    promised = next((n for n, risk in enumerate(fleet.risks) if not risk), None)
    if promised is not None:
        assert not [risk for risk in fleet.risks[promised:] if risk]
        assert kept


def task(spare: float, running: int = 0, **values: Any) -> Task:
    """Three places with so many pod-hours to spare, and interruptible pods where none is on demand."""
    firm = Choice(key=1, usd=3.06, spot=False, room=3, running=running)
    spot = Choice(key=0, usd=0.92, spot=True, room=3)
    return Task(
        hours_left=2.0, work=6.0 - spare, waiting=6.0 - spare, cap=3, boots_under_way=0.0,
        boot=0.0, net=0.2, choices=(spot, firm), **values,
    )  # fmt: skip


def test_the_time_that_a_place_has_waited_does_not_count_again() -> None:
    assert not plan(task(0.5)).makes_it
    assert plan(task(0.5, vacant=(0.1,))).makes_it
    assert not plan(task(0.49, vacant=(0.1,))).makes_it


def test_it_acts_a_tick_before_the_promise_would_end() -> None:
    assert (plan(task(0.6)).must, plan(task(0.6, tick=0.01)).must) == (0, 1)
    assert plan(task(0.6, tick=0.01)).makes_it


def test_a_place_that_waits_for_its_pod_on_demand_keeps_its_own_time() -> None:
    assert plan(task(0.5)).must == 1
    assert plan(task(0.5, vacant=(0.1,))).must == 1
    assert plan(task(0.5, vacant=(0.15,))).must == 2


def test_a_boot_on_demand_may_last_as_long_as_any() -> None:
    assert plan(task(0.4, running=1)).makes_it
    assert not plan(task(0.4, running=1, slow=0.01)).makes_it


@pytest.mark.parametrize(
    ("state", "since", "minutes"),
    [
        (DRAINING, 0, 3),
        (DRAINING, 30, 2.5),
        (DRAINING, 600, 2),
        (TERMINATING, 0, 2),
        (TERMINATING, 90, 0.5),
        (TERMINATING, 600, 0),
        (TERMINATING, None, 2),
    ],
)
def test_a_pod_on_its_way_out_keeps_its_place(
    state: PodState, since: int | None, minutes: float
) -> None:
    leaving = pod_facts(9, state, leaving_for=None if since is None else seconds(since))
    assert waits(leaving, *on("spot", 6)) == pytest.approx([minutes / 60, 0])


def test_a_place_without_a_pod_waits_for_nothing() -> None:
    assert waits(*on("spot", 7)) == pytest.approx([0])
    assert waits(pod_facts(9, STOPPED), *on("spot", 7)) == pytest.approx([0])
    assert waits(*on("spot", 8), pod_facts(9, TERMINATING)) == []


def waits(*pods: PodFacts) -> list[float]:
    """Hours until each place without a pod is free."""
    policy = by()
    free = goal_facts.net_hours(seen(), policy, 8) - 3 / 60  # a drain, and the proof of a loss
    found = goal_facts.vacant_hours(seen(pods=pods), policy, 8)
    return [hours - free for hours in found]


@pytest.mark.parametrize(("age", "minutes"), [(0, 3), (299, 3), (360, 2), (600, 0)])
def test_only_boots_on_demand_count_until_the_longest(age: int, minutes: float) -> None:
    booting: dict[str, Any] = {"state": BOOTING, "age": seconds(age)}
    firm, spot = on("firm", 1, **booting), on("spot", 3, 2, **booting)
    assert goal_facts.slow_boots(seen(pods=[*firm, *spot])) == pytest.approx(minutes / 60)
