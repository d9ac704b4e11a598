"""What waits for items or for room, and items that leave the hand while something is under way."""

import threading
import time

import pytest

from pods.agent.holding import Holding
from pods.agent.room import NOTHING
from pods.agent.stream import LARGEST_STEP, Entry

PATIENCE_SECONDS = 20.0
A_MOMENT = 0.02


class Clock:
    """A clock that tells when it was read. Who waits in `Holding` reads it with the lock."""

    def __init__(self):
        self.now, self.was_read = 1000.0, threading.Event()

    def __call__(self):
        self.was_read.set()
        return self.now


def entry(number, *, size=1, deliveries=1, counted=True):
    return Entry(f"{number}-0", {b"": b"x" * size}, deliveries, size, counted)


def quick(batch_size, clock=None):
    holding = Holding(batch_size, clock or Clock())
    holding.tune(batch_size, 0.001)
    return holding


def ids(batches):
    return [[e.id for e in batch] for batch in batches]


def seconds_of(what):
    began = time.monotonic()
    what()
    return time.monotonic() - began


def in_a_thread(what, clock):
    """Start it, and return when it has the lock or waits for a change."""
    clock.was_read.clear()
    thread = threading.Thread(target=what, daemon=True)
    thread.start()
    assert clock.was_read.wait(PATIENCE_SECONDS)
    return thread


def test_several_batches_are_taken_at_once_without_a_wait():
    holding = quick(2)
    holding.add([entry(n) for n in range(6)])
    taken = []
    took = seconds_of(lambda: taken.extend(holding.take_batches(2, PATIENCE_SECONDS)))
    assert ids(taken) == [["0-0", "1-0"], ["2-0", "3-0"]]
    assert took < PATIENCE_SECONDS / 2


def test_without_a_ready_item_the_feeder_waits():
    holding = quick(2)
    assert seconds_of(lambda: holding.take_batches(2, A_MOMENT)) >= A_MOMENT
    assert holding.take_batches(2, 0) == []


def test_room_that_comes_free_is_used_at_once():
    clock = Clock()
    holding = quick(2, clock)
    holding.add([entry(n) for n in range(4)])
    waits = in_a_thread(lambda: holding.wait_for_room(PATIENCE_SECONDS), clock)
    took = seconds_of(lambda: (holding.drop(["0-0", "1-0"]), waits.join(2 * PATIENCE_SECONDS)))
    assert not waits.is_alive()
    assert took < PATIENCE_SECONDS / 2


def test_without_room_and_without_a_time_for_it_the_intake_waits():
    holding = quick(2)
    holding.add([entry(n) for n in range(4)])
    assert seconds_of(lambda: holding.wait_for_room(A_MOMENT)) >= A_MOMENT


def test_the_intake_wakes_up_when_the_next_long_batch_should_be_read():
    holding = Holding(2)
    holding.tune(2, 0.3)
    holding.add([entry(1), entry(2)])
    holding.take_batches(1, 0)
    assert seconds_of(lambda: holding.wait_for_room(PATIENCE_SECONDS)) < PATIENCE_SECONDS / 2
    assert holding.room().items == 2


def far_away(clock):
    """What is in hand for a quick handler behind a slow link, when a call brought all that it may."""
    holding = Holding(64, clock)
    holding.tune(64, None)
    clock.now += 0.1
    holding.read_took(1.5, LARGEST_STEP)
    holding.tune(64, 0.001, good=100_000)
    return holding


def test_a_further_read_is_told_when_there_is_room_for_it():
    clock = Clock()
    holding = far_away(clock)
    with holding.asking() as first:
        assert first.items == LARGEST_STEP
        with holding.asking(further=True) as second:
            assert second.items == LARGEST_STEP
    holding.read_took(1.5, 1)  # the end of the stream
    with holding.asking(further=True) as none:
        assert none == NOTHING
    waits = in_a_thread(lambda: holding.wait_for_further_room(PATIENCE_SECONDS), clock)
    took = seconds_of(
        lambda: (holding.read_took(1.5, LARGEST_STEP), waits.join(2 * PATIENCE_SECONDS))
    )
    assert took < PATIENCE_SECONDS / 2


def test_the_first_read_may_be_smaller_than_a_whole_call():
    holding = quick(2)
    with holding.asking() as ask:
        assert ask.items == 4


def test_a_read_that_brought_nothing_says_nothing_of_the_link():
    clock = Clock()
    holding = Holding(2, clock)
    holding.tune(2, 10.0)
    holding.read_took(5.0, 0)
    holding.add([entry(1), entry(2)])
    holding.take_batches(1, 0)
    clock.now += 1
    assert holding.room() == NOTHING


def test_an_item_is_in_hand_until_it_is_dropped_and_takes_its_bytes_with_it():
    holding = quick(2)
    holding.add([entry(1, size=70), entry(2, size=9)])
    assert "1-0" in holding
    holding.drop(["1-0", "7-0"])
    assert "1-0" not in holding
    assert holding.bytes_held == 9
    assert ids(holding.take_batches(2, 0)) == [["2-0"]]


@pytest.mark.parametrize(
    "late",
    [
        lambda holding, e: holding.put_back([e]),
        lambda holding, e: holding.begun([e]),
        lambda holding, e: holding.worked([e]),
        lambda holding, e: holding.try_each_alone([e]),
        lambda holding, e: holding.retry_later(e.id, 1, "boom"),
        lambda holding, e: holding.drop_lost([e.id]),
        lambda holding, e: holding.drop([e.id]),
    ],
    ids=["put_back", "begun", "worked", "try_each_alone", "retry_later", "drop_lost", "drop"],
)
def test_what_another_agent_has_claimed_meanwhile_does_not_come_back(late):
    clock = Clock()
    holding = quick(2, clock)
    gone = entry(1)
    holding.add([gone])
    holding.take_batches(1, 0)
    holding.drop([gone.id])
    late(holding, gone)
    clock.now += 60
    assert (len(holding), holding.bytes_held) == (0, 0)
    assert holding.take_batches(1, 0) == []
    assert holding.due(10, 100) == []
    assert not holding.is_suspect(gone.id)
    assert holding.error_of(gone.id) == ""


def failed(holding, item, error=""):
    """The handler failed the item, which is taken again later."""
    holding.add([item])
    holding.take_batches(1, 0)
    holding.worked([item])
    holding.retry_later(item.id, 1, error)


def test_an_item_that_waits_for_its_next_try_keeps_its_last_error():
    holding = quick(1)
    holding.add([entry(1)])
    assert not holding.waits("1-0")
    assert not holding.waits("2-0")
    failed(holding, entry(1), "out of memory")
    assert holding.waits("1-0")
    assert holding.error_of("1-0") == "out of memory"
    holding.retry_later("1-0", 1)  # the server did not answer: no new error
    assert holding.error_of("1-0") == "out of memory"


def test_a_retry_is_not_due_for_an_item_that_left_or_was_taken_again():
    clock = Clock()
    holding = quick(1, clock)
    for n in (1, 2, 3):
        failed(holding, entry(n))
    holding.drop(["1-0"])
    holding.add([entry(2, deliveries=2)])  # another step has taken it again
    clock.now += 60
    assert holding.due(10, 100) == ["3-0"]


def test_what_is_given_back_counts_as_tried_where_no_read_counted_its_try():
    clock = Clock()
    holding = quick(2, clock)
    holding.add([entry(1, deliveries=2, counted=False), entry(2)])
    clock.now += 60
    assert holding.surplus() == [("1-0", True), ("2-0", False)]
