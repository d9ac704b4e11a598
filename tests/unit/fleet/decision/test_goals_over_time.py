"""Many ticks in a row on a market that somebody draws against the fleet: it keeps its goal."""

from collections.abc import Sequence

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.spot.fleets import by_deadline, within_budget
from benchmarks.spot.recordings import SPOT_USD, Episode, Minutes
from benchmarks.spot.world import LONGEST_BOOT_MINUTES, PODS, play
from tests.support.examples import examples

TWO_DAYS = 2 * 24 * 60
# The longest boot, two ticks of ramp, a drain and two ticks: what the fleet is told.
NET_MINUTES = LONGEST_BOOT_MINUTES + 2 + 1 + 2
spells = st.lists(st.integers(1, 45), min_size=1, max_size=12)  # minutes, there and away in turn
boots = st.lists(st.integers(1, LONGEST_BOOT_MINUTES), min_size=1, max_size=5)


def minutes_of(lengths: Sequence[int], *, there: bool) -> Minutes:
    pattern = np.concatenate(
        [np.full(length, there ^ bool(n % 2)) for n, length in enumerate(lengths)]
    )
    return np.resize(pattern, TWO_DAYS)


@st.composite
def markets(draw: st.DrawFn) -> Episode:
    zones = [
        minutes_of(draw(spells), there=draw(st.booleans())) for _ in range(draw(st.integers(1, 2)))
    ]
    hours = draw(st.sampled_from([0.25, 0.75, 1.5]))
    spare = draw(st.sampled_from([1, 5, 20, 60]))
    return Episode(
        zones=tuple("ab"[: len(zones)]),
        up=tuple(zones),
        prices=(SPOT_USD, 1.5)[: len(zones)],
        hours=hours,
        slack=0.0,
        deadline_minutes=round(hours * 60) + NET_MINUTES + spare,
    )


@settings(max_examples=examples(300), deadline=None)
@given(episode=markets(), boots=boots)
def test_a_deadline_that_was_feasible_is_met(episode: Episode, boots: list[int]) -> None:
    acts = by_deadline(episode.deadline_minutes)
    outcome = play(episode, acts, horizon=episode.deadline_minutes + 120, boots=boots)
    assert outcome.minutes is not None
    assert outcome.minutes <= episode.deadline_minutes


@settings(max_examples=examples(300), deadline=None)
@given(episode=markets(), boots=boots, times=st.sampled_from([0.1, 0.5, 1.0, 1.3, 3.0]))
def test_no_budget_is_overspent(episode: Episode, boots: list[int], times: float) -> None:
    budget = round(times * episode.hours * PODS * SPOT_USD, 2)
    outcome = play(episode, within_budget(budget), horizon=300, boots=boots)
    assert outcome.cost <= budget
