"""When the next range is taken, which one is shared, and which are given back."""

import time

import pytest

from pods.agent.dataset import hand as hands
from pods.agent.dataset.feeding import Feeding
from pods.agent.dataset.hand import MOST_AHEAD, Hand
from pods.agent.dataset.shelf import Shelf
from pods.agent.dataset.work import Work
from pods.agent.holding import Holding
from pods.agent.progress import Progress
from pods.agent.ranges import Format, Range, Source
from pods.agent.stream import Entry

SOURCE = Source("file:///t", "e", 10, Format.PARQUET)


@pytest.fixture
def hand():
    return Hand(Holding(1), Feeding(Shelf(1), Progress(), lambda: None))


def a_range(rows=100, *, row_seconds=None, fed=10, alone=False, closing=False):
    """A range of which the handler has `fed` rows; each took so long until now."""
    of = Work(
        Entry("1-1", {}),
        Range(SOURCE, 0, rows, rows, "file:///out"),
        lambda work, slot: None,
        most_tries=3,
    )
    if row_seconds is not None:
        of.fed = of.flushed = fed
        of.began = time.monotonic() - row_seconds * fed
    of.alone, of.closing = alone, closing
    return of


@pytest.mark.parametrize(
    ("ranges", "room"),
    [
        ([], True),
        ([{"row_seconds": 0.01}], True),  # 0.9 s
        ([{"row_seconds": 0.1}], False),  # 9 s
        ([{}], False),  # nobody knows
        ([{"closing": True}], True),
        ([{"row_seconds": 0.01, "alone": True}], False),
        ([{"closing": True, "alone": True}], True),
        ([{"row_seconds": 0.01}, {"rows": 300}], True),  # 0.9 s, and 3 s of the one that waits
        ([{"row_seconds": 0.01}, {"rows": 500}], False),
        ([{"row_seconds": 0.0001}, {"rows": 1, "alone": True}], False),
        ([{"row_seconds": 0.0001}, *[{"rows": 1}] * (MOST_AHEAD - 2)], True),
        ([{"row_seconds": 0.0001}, *[{"rows": 1}] * (MOST_AHEAD - 1)], False),
    ],
)
def test_the_next_range_is_taken_before_the_handler_waits_for_it(hand, ranges, room):
    for how in ranges:
        hand.add(a_range(**how))
    assert hand.has_room() is room


def test_a_range_that_is_committed_is_no_longer_in_hand(hand):
    first, second = a_range(5), a_range(7)
    hand.add(first)
    hand.add(second)
    assert len(hand) == 12
    hand.drop(first)
    assert hand.works() == [second]


@pytest.mark.parametrize(
    ("ranges", "is_shared"),
    [
        ([], False),
        ([{"row_seconds": 1.0}], True),  # 90 s
        ([{"row_seconds": 0.5}], False),  # 45 s
        ([{}], False),  # nobody knows
        ([{"row_seconds": 1.0, "alone": True}], False),
        ([{"row_seconds": 1.0, "closing": True}], False),
        ([{"row_seconds": 1.0}, {}], False),
    ],
)
def test_only_a_long_rest_that_is_alone_in_hand_is_shared(hand, ranges, is_shared):
    works = [a_range(**how) for how in ranges]
    for work in works:
        hand.add(work)
    assert hand.shareable() is (works[0] if is_shared else None)


def test_ranges_that_wait_long_for_the_handler_are_given_back(hand, monkeypatch):
    first, waiting, begun = a_range(), a_range(), a_range(row_seconds=1.0)
    for work in (first, waiting, begun):
        hand.add(work)
    hand.give_back()
    assert not any(work.closing for work in (first, waiting, begun))
    monkeypatch.setattr(hands, "LONGEST_WAIT_SECONDS", -1.0)
    hand.give_back()
    assert [work.closing for work in (first, waiting, begun)] == [False, True, False]
