"""The size of a batch: as small as costs nothing, as large as pays, and within its bounds."""

from itertools import pairwise
from math import isclose

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pods.agent.sizing import SHORT_SECONDS, Sizing
from tests.support.examples import examples

MOST = st.integers(1, 2000)
SECONDS = st.floats(0.0001, 1000)
DRAWN = settings(max_examples=examples(300), deadline=None)
TARGET = st.floats(0.01, 100)


def run(sizing, takes, batches):
    """The sizes of a number of full batches, and the sizing after them."""
    sizes = []
    for _ in range(batches):
        sizes.append(sizing.size)
        sizing = sizing.after(sizing.size, takes(sizing.size))
    return sizes, sizing


def usual(sizes):
    """The size of most of the batches, once the first ones are over."""
    late = sizes[len(sizes) // 2 :]
    return max(set(late), key=late.count)


@DRAWN
@given(MOST, TARGET)
def test_it_begins_with_one_item(most, target):
    assert Sizing(most, target).size == 1
    assert Sizing(most, target).batch_seconds is None


@DRAWN
@given(MOST, TARGET, st.lists(st.tuples(st.integers(1, 2000), SECONDS), max_size=60))
def test_a_size_is_within_its_bounds_and_changes_by_one_step(most, target, batches):
    sizing, sizes = Sizing(most, target), [1]
    for items, seconds in batches:
        sizing = sizing.after(min(items, sizing.size), seconds)
        sizes.append(sizing.size)
    assert all(1 <= size <= most for size in sizes)
    assert all(b in {a, a // 2, 2 * a, 2 * a + 1} for a, b in pairwise(sizes))


@DRAWN
@given(MOST, TARGET, st.floats(0.0001, 100))
def test_items_that_cost_time_come_in_batches_as_short_as_costs_nothing(most, target, each):
    short = min(SHORT_SECONDS, target)
    # At the very edge two sizes are equally good, and rounding decides each time anew.
    possible = {most >> halvings for halvings in range(most.bit_length())}
    assume(not any(isclose(each * size, short, rel_tol=0.001) for size in possible))
    sizes, _ = run(Sizing(most, target), lambda size: each * size, 200)
    size = usual(sizes)
    assert size == 1 or each * size <= short * 1.001
    assert size == most or each * (2 * size + 1) > short * 0.999
    # a longer batch is tried now and then, and by one step only
    late = sizes[100:]
    assert max(late) <= 2 * size + 1
    assert late.count(size) >= 0.9 * len(late)


@DRAWN
@given(MOST, TARGET, SECONDS)
def test_a_call_that_costs_the_same_for_any_batch_gets_large_batches(most, target, seconds):
    sizes, _ = run(Sizing(most, target), lambda _: seconds, 150)
    late = sizes[most.bit_length() :]
    assert late.count(most) >= 0.95 * len(late)


@DRAWN
@given(st.integers(2, 2000), st.floats(0, 100), st.floats(0.0001, 10))
def test_at_most_a_tenth_of_the_rate_of_the_largest_batch_is_given_up(most, call, each):
    """Below the wanted time. A doubling that is not done would win less than a twentieth."""
    sizes, _ = run(Sizing(most, 1e9), lambda size: call + each * size, 400)
    late = sizes[200:]
    rate = sum(late) / sum(call + each * size for size in late)
    assert rate >= 0.89 * most / (call + each * most)


@DRAWN
@given(st.integers(2, 2000), TARGET, st.floats(0, 100), st.floats(0.0001, 10))
def test_no_size_is_kept_that_spends_most_of_its_time_on_the_call(most, target, call, each):
    sizes, _ = run(Sizing(most, target), lambda size: call + each * size, 300)
    size = usual(sizes)
    larger = 2 * size + 1
    assert size == most or call <= 2 * each * (larger + size)


@DRAWN
@given(MOST, TARGET, st.floats(0.1, 0.9))
def test_a_quick_handler_gets_the_largest_batches(most, target, share):
    sizes, _ = run(Sizing(most, target), lambda _: share * min(target, SHORT_SECONDS), 50)
    assert set(sizes[most.bit_length() :]) <= {most}


@DRAWN
@given(st.integers(2, 1000), st.floats(1, 100), st.floats(2, 1000))
def test_a_slow_first_batch_is_forgotten(most, target, times):
    """A first call that compiles something takes long."""
    sizing = Sizing(most, target).after(1, times * target)
    sizes, _ = run(sizing, lambda size: 0.2 * size / most, 20)
    assert sizes[-1] == most


@settings(DRAWN, max_examples=30)
@given(st.integers(16, 1000), st.floats(1, 10))
def test_a_handler_that_becomes_quick_again_gets_the_largest_batches_again(most, target):
    _, slow = run(Sizing(most, target), lambda size: 4.1 * target * size / most, 50)
    assert slow.size < most / 2
    assert run(slow, lambda size: 0.2 * size / most, 4000)[1].size == most


@DRAWN
@given(st.integers(4, 1000), st.floats(1, 100))
def test_a_batch_that_is_not_full_makes_none_larger_but_a_long_one_smaller(most, target):
    _, large = run(Sizing(most, target), lambda _: 0.9 * target, 12)
    assert large.size == most
    assert large.after(most - 1, target / 100) == large
    assert large.after(most - 1, 8 * target).size < most


@DRAWN
@given(st.integers(2, 1000), TARGET)
def test_a_batch_that_was_on_its_way_when_the_size_changed_changes_nothing(most, target):
    small = Sizing(most, target)
    assert small.after(most, 3 * target) == small


@pytest.mark.parametrize(("longest", "size"), [(190, 1), (210, 64)])
def test_no_batch_is_tried_that_may_be_cut_off(longest, size):
    _, sizing = run(Sizing(64, 5.0, longest_seconds=longest), lambda _: 100.0, 50)
    assert sizing.size == size


def test_the_time_of_a_batch_that_was_not_measured_follows_from_its_neighbour():
    sizing = Sizing(64, 5.0).after(1, 0.01)
    assert (sizing.size, sizing.batch_seconds) == (2, 0.02)
    assert sizing.after(2, 0.03).batch_seconds == 0.06


def of_eight(took, *, smaller=None, larger=None):
    """The sizing after a batch of 8 took as long as those before; the times of 4 and 16 are known."""
    known = {3: took, 4: smaller, 2: larger}
    seconds = {halvings: said for halvings, said in known.items() if said is not None}
    return Sizing(64, 5.0, halvings=3, moved=False, seconds=seconds).after(8, took)


@pytest.mark.parametrize(
    ("took", "smaller", "larger", "size"),
    [
        (1.0, 0.9, 4.0, 8),  # 16 do fewer items in a second
        (1.0, 0.9, 1.95, 8),  # they do a few more
        (1.0, 0.9, 1.6, 16),  # they do many more
        (0.1, None, 0.2, 16),  # they are quick anyway
        (4.0, 3.9, 7.0, 8),  # they take too long, and save little time
        (4.5, 4.4, 5.5, 16),  # they take too long, and 8 take nearly as long
        (6.0, 4.0, None, 4),  # 8 take too long, and 4 are much quicker
        (6.0, 5.5, 12.0, 8),  # 8 take too long, and 4 take nearly as long
        (1.0, None, None, 4),  # the items cost the time
    ],
)
def test_the_next_size_follows_from_the_times_of_its_neighbours(took, smaller, larger, size):
    assert of_eight(took, smaller=smaller, larger=larger).size == size


@pytest.mark.parametrize(
    ("smaller", "larger", "after"),
    [
        (0.9, 4.0, {4: 0.9 - 0.01 * 0.4, 3: 1.0, 2: 4.0 - 0.02 * 2.0}),  # slower than its items
        (0.9, 1.5, {4: 0.9 - 0.01 * 0.4, 3: 1.0, 2: 1.5 - 0.002 * 0.5}),
        (None, None, {3: 1.0}),
    ],
)
def test_the_times_of_the_neighbours_are_forgotten_slowly(smaller, larger, after):
    assert of_eight(1.0, smaller=smaller, larger=larger).seconds == pytest.approx(after)


@pytest.mark.parametrize(("moved", "seconds"), [(True, 2.0), (False, 1.3)])
def test_the_first_batch_of_a_size_counts_whole_and_later_ones_in_part(moved, seconds):
    sizing = Sizing(64, 5.0, halvings=3, moved=moved, seconds={3: 1.0})
    assert sizing.after(8, 2.0).seconds[3] == pytest.approx(seconds)


def test_the_time_of_a_batch_that_was_measured_is_its_own():
    assert Sizing(64, 5.0, halvings=3, seconds={3: 1.0, 4: 0.7}).batch_seconds == 1.0
