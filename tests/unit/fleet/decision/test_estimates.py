"""The number of pods for a depth, and the time that it lasts."""

from datetime import timedelta

import pytest

from fleet.decision.estimates import LONGEST_SECONDS, pods_for, time_left


@pytest.mark.parametrize(("depth", "pods"), [(0, 0), (1, 1), (100, 1), (101, 2), (200, 2)])
def test_the_number_of_pods_for_a_depth_is_rounded_up(depth: int, pods: int) -> None:
    assert pods_for(depth, 100) == pods


def test_the_time_left_is_the_depth_over_the_rate() -> None:
    assert time_left(600, 10.0) == timedelta(minutes=1)
    assert time_left(0, 10.0) == timedelta(0)


@pytest.mark.parametrize(("depth", "rate"), [(None, 10.0), (600, None), (600, 0.0)])
def test_the_time_left_is_unknown_while_the_depth_or_the_rate_is(
    depth: int | None, rate: float | None
) -> None:
    assert time_left(depth, rate) is None


def test_a_rate_near_zero_gives_the_longest_time() -> None:
    assert time_left(10**12, 1e-9) == timedelta(seconds=LONGEST_SECONDS)
