"""The drawn time limits of a pod."""

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.models.fields import LONGEST_SECONDS
from fleet.pages import life_times
from tests.support.examples import examples

times = st.floats(0.2, LONGEST_SECONDS)


def test_each_time_limit_has_a_bar_with_its_words() -> None:
    drawn = life_times.drawn(dict.fromkeys(life_times.FIELDS, 900))
    assert [bar.name for bar in drawn] == [
        "Boot", "Heartbeat", "Silent", "Idle", "Drain", "No manager",
    ]  # fmt: skip
    assert {bar.after for bar in drawn} == {"15 min"}


def test_a_time_that_cannot_be_read_has_no_bar() -> None:
    assert not life_times.drawn({"boot_seconds": None, "idle_seconds": -1, "other": 5})


@settings(max_examples=examples(500))
@given(times, times)
def test_a_longer_time_never_has_a_shorter_bar(one: float, other: float) -> None:
    short, long = sorted((one, other))
    (first,) = life_times.drawn({"idle_seconds": short})
    (second,) = life_times.drawn({"idle_seconds": long})
    assert 0 <= first.width <= second.width <= 100
