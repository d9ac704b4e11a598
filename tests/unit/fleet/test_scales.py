"""Ticks are round, cover what is drawn, and labels do not cover each other."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.pages import scales
from tests.support.examples import examples


@pytest.mark.parametrize(
    ("most", "whole", "wanted"),
    [
        (0, False, [0, 1]),
        (3, True, [0, 1, 2, 3]),
        (7, True, [0, 2, 4, 6, 8]),
        (0.42, False, [0, 0.2, 0.4, 0.6000000000000001]),
        (60, False, [0, 20, 40, 60]),
        (41_800_000, True, [0, 20e6, 40e6, 60e6]),
    ],
)
def test_values_have_round_ticks(most: float, whole: bool, wanted: list[float]) -> None:
    assert list(scales.value_ticks(most, whole=whole)) == wanted


@settings(max_examples=examples(500))
@given(st.floats(1e-6, 1e12), st.booleans())
def test_the_ticks_reach_the_highest_value_and_are_few(most: float, whole: bool) -> None:
    ticks = scales.value_ticks(most, whole=whole)
    assert ticks[0] == 0
    assert ticks[-1] >= most * (1 - 1e-9)
    assert 2 <= len(ticks) <= scales.MOST_TICKS + 1
    assert not whole or all(tick == int(tick) for tick in ticks)


def test_times_are_round_on_the_clocks_of_the_reader() -> None:
    berlin, end = ZoneInfo("Europe/Berlin"), datetime(2026, 11, 23, 12, 7, tzinfo=UTC)
    ticks = scales.time_ticks(end - timedelta(hours=24), end, timedelta(hours=4), berlin)
    assert [f"{tick:%H:%M}" for tick in ticks] == [
        "16:00", "20:00", "00:00", "04:00", "08:00", "12:00",
    ]  # fmt: skip
    days = scales.time_ticks(end - timedelta(days=7), end, timedelta(days=1), berlin)
    assert [f"{day:%d %H:%M}" for day in days] == [f"{n} 00:00" for n in range(17, 24)]


@settings(max_examples=examples(500))
@given(st.lists(st.floats(12, 124), max_size=6))
def test_labels_do_not_cover_each_other_and_stay_in_the_drawing(wanted: list[float]) -> None:
    placed = scales.spread(wanted, lowest=12, highest=124)
    assert all(12 - 1e-6 <= at <= 124 + 1e-6 for at in placed)
    order = sorted(placed)
    assert all(b - a >= scales.LABEL_HEIGHT - 1e-6 for a, b in pairwise(order))
