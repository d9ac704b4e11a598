"""The size of a batch: within its bounds, and as large as the wanted time allows."""

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from pods.agent.sizing import Sizing

MOST = st.integers(1, 2000)
SECONDS = st.floats(0.0001, 1000)
TARGET = st.floats(0.01, 100)


def run(sizing, takes, batches):
    """The sizes of a number of full batches, and the sizing after them."""
    sizes = []
    for _ in range(batches):
        sizes.append(sizing.size)
        sizing = sizing.after(sizing.size, takes(sizing.size))
    return sizes, sizing


@settings(max_examples=500)
@given(MOST, TARGET, st.lists(st.tuples(st.integers(1, 2000), SECONDS), max_size=60))
def test_a_size_is_within_its_bounds_and_changes_by_one_step(most, target, batches):
    sizing, sizes = Sizing(most, target), [most]
    for items, seconds in batches:
        sizing = sizing.after(min(items, sizing.size), seconds)
        sizes.append(sizing.size)
    assert all(1 <= size <= most for size in sizes)
    assert all(b in {a, a // 2, 2 * a, 2 * a + 1} for a, b in pairwise(sizes))


@settings(max_examples=500)
@given(MOST, TARGET, st.floats(0.0001, 100))
def test_items_that_cost_time_come_in_batches_of_at_most_the_wanted_time(most, target, each):
    sizes, sizing = run(Sizing(most, target), lambda size: each * size, 40)
    for size in {*sizes[-10:], sizing.size}:
        assert size == 1 or each * size <= target * 1.001
        assert size == most or each * (2 * size + 1) > target * 0.999


@settings(max_examples=500)
@given(MOST, TARGET, SECONDS)
def test_a_call_that_costs_the_same_for_any_batch_keeps_large_batches(most, target, seconds):
    sizes, _ = run(Sizing(most, target), lambda _: seconds, 150)
    assert sizes.count(most) >= 0.95 * len(sizes)


@settings(max_examples=500)
@given(st.integers(2, 2000), TARGET, st.floats(0, 100), st.floats(0.0001, 10))
def test_no_size_is_kept_that_spends_most_of_its_time_on_the_call(most, target, call, each):
    sizes, _ = run(Sizing(most, target), lambda size: call + each * size, 120)
    usual = sorted(sizes[-100:])[50]
    larger = 2 * usual + 1
    assert usual == most or call <= 2 * each * (larger + usual)


@given(MOST, TARGET, st.floats(0.1, 0.9))
def test_a_quick_handler_gets_the_largest_batches(most, target, share):
    sizes, _ = run(Sizing(most, target), lambda _: share * target, 50)
    assert set(sizes) == {most}


@settings(max_examples=200)
@given(st.integers(2, 1000), TARGET, st.floats(1.5, 20))
def test_a_slow_first_batch_is_forgotten(most, target, times):
    sizing = Sizing(most, target).after(most, times * target)
    assert sizing.size < most
    assert run(sizing, lambda size: 0.4 * target * size / most, 400)[1].size == most


@given(st.integers(2, 1000), TARGET)
def test_a_batch_that_is_not_full_makes_none_larger_but_a_long_one_smaller(most, target):
    small = Sizing(most, target).after(most, 1.9 * target)
    assert small.size < most
    if small.size > 1:
        assert small.after(small.size - 1, target / 100) == small
    assert Sizing(most, target).after(most - 1, 1.9 * target).size < most


@settings(max_examples=100)
@given(st.integers(16, 1000), TARGET)
def test_a_handler_that_becomes_quick_again_gets_the_largest_batches_again(most, target):
    _, slow = run(Sizing(most, target), lambda size: 4.1 * target * size / most, 50)
    assert slow.size < most / 2
    assert run(slow, lambda size: 0.3 * target * size / most, 400)[1].size == most


@given(st.integers(2, 1000), TARGET)
def test_a_batch_that_was_on_its_way_when_the_size_changed_changes_nothing(most, target):
    small = Sizing(most, target).after(most, 3 * target)
    assert small.size < most
    assert small.after(most, 3 * target) == small
