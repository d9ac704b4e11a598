"""What ticks, boots and heartbeats say about arrivals, the longest boot and speeds that differ."""

from datetime import timedelta
from typing import Any

import pytest

from fleet.tick.aims import PastTick, arrivals, bound, spread
from pods.states import BOOTING
from tests.support.factories import NOON, hours, pod_facts, seconds


def ticks(depths: list[int | None], rate: float | None = None) -> list[PastTick]:
    """Ticks of 15 s with these depths, the oldest first, as they are read: the newest first."""
    found = [(NOON + seconds(15 * n), depth, 0, rate) for n, depth in enumerate(depths)]
    return found[::-1]


def test_items_that_are_still_added_are_counted_beside_those_that_are_finished() -> None:
    assert arrivals(ticks([15 * n for n in range(20)])) == pytest.approx(1.0)
    level = arrivals(ticks([500] * 20, rate=4.0))
    assert level == pytest.approx(4.0)


@pytest.mark.parametrize(
    ("depths", "rate"),
    [
        ([9000 - 60 * n for n in range(20)], 4.0),  # finished at 4 items/s
        ([9000 - 57 * n for n in range(20)], 4.0),  # the rate is 5 % off
        ([0] * 10 + [10**6] * 10, None),  # filled at once
        ([100, 200, 300], None),  # too few ticks
        ([None] * 20, None),
        ([], None),
    ],
)
def test_a_backlog_to_which_nothing_is_added_has_no_arrivals(
    depths: list[int | None], rate: float | None
) -> None:
    assert arrivals(ticks(depths, rate)) is None


def test_the_bound_of_boots_needs_twenty_of_them() -> None:
    boots = [timedelta(seconds=n) for n in range(1, 101)]
    assert bound(boots[:19]) is None
    assert bound(boots[:20]) == seconds(20)
    assert bound(boots) == seconds(100)


def test_speeds_differ_by_the_working_pods_alone() -> None:
    works: dict[str, Any] = {"in_flight": 4, "ready_for": hours(1)}
    pods = [pod_facts(n, items_per_second=rate, **works) for n, rate in enumerate((9, 10, 11))]
    young = pod_facts(7, items_per_second=1.0, in_flight=4, ready_for=seconds(60))
    boots = pod_facts(8, BOOTING)
    assert spread([*pods, young, boots]) == pytest.approx(0.1)
    assert spread(pods[:2]) is None


@pytest.mark.parametrize(
    "odd",
    [{"in_flight": 0}, {"in_flight": None}, {"items_per_second": None}, {"ready_for": None}],
)
def test_a_pod_that_shows_no_speed_does_not_count_for_their_spread(odd: dict[str, Any]) -> None:
    works: dict[str, Any] = {"in_flight": 4, "ready_for": hours(1), "items_per_second": 9.0}
    pods = [pod_facts(n, **works) for n in range(3)]
    slow = pod_facts(7, **{**works, "items_per_second": 1.0, **odd})
    assert spread([*pods, slow]) == 0


def test_two_ticks_of_the_same_moment_say_nothing_about_arrivals() -> None:
    found = ticks([15 * n for n in range(20)])
    assert arrivals([found[0], *found]) == pytest.approx(1.0)


def test_a_tick_that_knew_no_depth_says_nothing_about_arrivals() -> None:
    depths: list[int | None] = [15 * n for n in range(20)]
    depths[7] = None
    assert arrivals(ticks(depths)) == pytest.approx(1.0)


def test_eight_times_between_ticks_are_enough_to_know_arrivals() -> None:
    assert arrivals(ticks([15 * n for n in range(9)])) == pytest.approx(1.0)
    assert arrivals(ticks([15 * n for n in range(8)])) is None
