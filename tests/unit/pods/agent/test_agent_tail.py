"""An idle agent copies an item of a living pod that has had it for long, and no other item."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.agent.tail import (
    FEWEST_MEASURED,
    LEAST_OVERDUE_SECONDS,
    OVERDUE_FACTOR,
    BatchTimes,
    Pending,
    Watch,
    is_free,
)

HELD = Pending(entry="1-0", pod="slow", idle_seconds=0.0, deliveries=1)


def overdue_at(now, *items, watch):
    return [item.entry for item in watch.overdue(items, after_seconds=4.0, now=now)]


def test_an_item_is_overdue_after_some_times_the_median_of_the_agents_own_batches():
    times = BatchTimes()
    for seconds in (60.0, 1.0):  # the first one loaded a model
        assert times.overdue_seconds() is None
        times.add(seconds)
    assert FEWEST_MEASURED == 3
    times.add(2.0)
    assert times.overdue_seconds() == OVERDUE_FACTOR * 2.0
    for _ in range(100):
        times.add(0.001)
    assert times.overdue_seconds() == LEAST_OVERDUE_SECONDS


def test_an_item_is_overdue_once_it_was_seen_for_so_long_in_the_same_hand():
    watch = Watch()
    assert overdue_at(100.0, HELD, watch=watch) == []
    assert overdue_at(103.9, HELD, watch=watch) == []
    assert overdue_at(104.0, HELD, watch=watch) == ["1-0"]
    assert overdue_at(105.0, HELD, watch=watch) == [
        "1-0"
    ]  # another agent may have been asked first


def test_the_item_of_a_pod_that_has_shown_no_life_since_is_left_alone():
    """The item may have ended the pod, and would end the next one."""
    watch = Watch()
    overdue_at(100.0, HELD, watch=watch)
    for second in range(1, 60):
        died = HELD._replace(idle_seconds=second - 3.9)
        assert overdue_at(100.0 + second, died, watch=watch) == []
    assert overdue_at(160.0, HELD._replace(idle_seconds=56.0), watch=watch) == ["1-0"]


@pytest.mark.parametrize(
    "change", [{"deliveries": 2}, {"deliveries": 0}, {"pod": "another"}, {"entry": "2-0"}]
)
def test_an_item_that_was_tried_before_or_has_another_holder_is_not_overdue(change):
    watch = Watch()
    overdue_at(100.0, HELD, watch=watch)
    assert overdue_at(109.0, HELD._replace(**change), watch=watch) == []


def test_what_was_seen_first_is_copied_first_and_what_is_done_is_forgotten():
    watch = Watch()
    late = HELD._replace(entry="0-0")
    overdue_at(100.0, HELD, watch=watch)
    overdue_at(101.0, HELD, late, watch=watch)
    assert overdue_at(110.0, late, HELD, watch=watch) == ["1-0", "0-0"]
    overdue_at(111.0, late, watch=watch)
    assert overdue_at(112.0, late, HELD, watch=watch) == ["0-0"]


@given(
    looks=st.lists(
        st.tuples(st.floats(0.5, 5), st.floats(0, 30), st.integers(1, 2)), min_size=1, max_size=30
    )
)
def test_nothing_is_copied_before_its_time_and_nothing_of_a_dead_pod(looks):
    watch, now, began = Watch(), 0.0, None
    for seconds, idle, deliveries in looks:
        now += seconds
        began = now if began is None else began
        item = HELD._replace(idle_seconds=idle, deliveries=deliveries)
        if overdue_at(now, item, watch=watch):
            assert deliveries == 1
            assert now - idle >= began + 4.0


def test_an_item_that_any_agent_may_claim_waits():
    def free(item):
        return is_free(item, claim_idle_seconds=60.0, released="nobody")

    assert not free(HELD._replace(idle_seconds=59.9))
    assert free(HELD._replace(idle_seconds=60.0))
    assert free(HELD._replace(pod="nobody"))
