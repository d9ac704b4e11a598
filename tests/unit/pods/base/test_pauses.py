"""The doubling pause grows, has a maximum, and never overflows."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.alerts import delivering
from pods import spawning
from pods.accounts import breaker
from pods.base.pauses import doubled

FIRST, LONGEST = timedelta(seconds=2), timedelta(minutes=2)


@pytest.mark.parametrize(
    ("times", "seconds"),
    [(-3, 2), (0, 2), (1, 4), (2, 8), (5, 64), (6, 120), (7, 120), (10**9, 120)],
)
def test_a_pause_doubles_up_to_the_longest(times: int, seconds: int) -> None:
    assert doubled(FIRST, times, longest=LONGEST) == timedelta(seconds=seconds)


@given(st.integers(0, 2**31), st.timedeltas(timedelta(0), timedelta(hours=1)))
def test_a_pause_never_shrinks_with_the_tries(times: int, first: timedelta) -> None:
    longest = timedelta(days=1)
    pauses = [doubled(first, n, longest=longest) for n in (times, times + 1)]
    assert first <= pauses[0] <= pauses[1] <= longest


def test_each_use_has_the_pauses_that_it_documents() -> None:
    seconds = [spawning.pause(n).total_seconds() for n in (0, 1, 5, 6, 100)]
    assert seconds == [2, 4, 64, 120, 120]
    minutes = [breaker.pause_after(n) for n in (2, 3, 4, 8, 9, 10**6)]
    assert minutes[0] is None
    assert [m.total_seconds() / 60 for m in minutes if m] == [0.5, 1, 16, 30, 30]
    tries = range(1, delivering.TRIES + 1)
    assert [delivering.pause(n).total_seconds() for n in tries] == [15 * 2**n for n in range(8)]
