"""When offers come and go in a replay: as it was recorded, or as is usual."""

from itertools import islice, pairwise
from random import Random

import pytest

from fleet.decision.spells import (
    MOST_RECORDED,
    History,
    Spell,
    drawn,
    ends_an_hour,
    stretch_of,
)

UP, DOWN = True, False
HALF_DAYS = [Spell(UP, 12.0), Spell(DOWN, 12.0)] * 7


def first(count: int, **values: bool) -> list[Spell]:
    its = {"up": True, "new": False, "recorded": True, **values}
    return list(islice(drawn([HALF_DAYS], **its, draw=Random(1)), count))


def test_times_of_offers_become_spells_within_what_was_read() -> None:
    times = [(-2.0, 1.0), (3.0, 4.0), (4.0, 5.0), (9.0, 20.0)]
    found = stretch_of(times, since=0.0, until=10.0)
    assert found == [(UP, 1.0), (DOWN, 2.0), (UP, 2.0), (DOWN, 4.0), (UP, 1.0)]
    assert stretch_of([], since=0.0, until=2.0) == [(DOWN, 2.0)]
    assert stretch_of([(0.0, 5.0)], since=5.0, until=6.0) == [(DOWN, 1.0)]


@pytest.mark.parametrize("state", [UP, DOWN])
def test_a_recorded_day_goes_on_from_a_moment_in_the_present_state(state: bool) -> None:
    for seed in range(50):
        found = list(
            islice(drawn([HALF_DAYS], up=state, new=False, recorded=True, draw=Random(seed)), 3)
        )
        assert found[0].up == state
        assert 0 < found[0].hours <= 12.0
        assert found[1].hours == 12.0 or found[0].up == found[1].up


def test_what_was_never_seen_comes_from_usual_spells() -> None:
    always = [[Spell(UP, 100.0)]]
    found = list(islice(drawn(always, up=DOWN, new=False, recorded=True, draw=Random(1)), 40))
    assert found[0].up is DOWN
    assert all(a.up != b.up for a, b in pairwise(found))
    assert min(spell.hours for spell in found) > 0


def test_the_same_draw_gives_the_same_spells() -> None:
    assert first(30) == first(30)
    assert first(30, recorded=False) == first(30, recorded=False)
    assert first(30) != first(30, recorded=False)


def test_a_week_counts_three_quarters_and_nothing_counts_nothing() -> None:
    assert History().share == 0
    assert History(days=7).share == History(days=30).share == MOST_RECORDED
    assert History(days=3.5).share == 0.5


def test_how_often_offers_end_is_counted_for_hours_in_which_they_stood() -> None:
    assert ends_an_hour([HALF_DAYS]) == 1 / 12
    assert ends_an_hour([[Spell(UP, 5.0)]]) == 0
    assert ends_an_hour([[Spell(DOWN, 5.0)]]) is None
