"""What an agent knows of its link, and how much it therefore reads ahead."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pods.agent.holding import Holding
from pods.agent.room import FURTHER_READ_BYTES, NOTHING, Ask, Hand, Room
from pods.agent.sizing import SHORT_SECONDS
from pods.agent.stream import LARGEST_STEP, LARGEST_TAKE_BYTES, Entry
from pods.agent.window import (
    FIRST_GROWTH,
    HOLD_SECONDS,
    LEAST_OF_SECONDS,
    PACE_SECONDS,
    READS_AHEAD,
    SLACK_SECONDS,
    RoundTrips,
    Window,
)


def test_the_round_trip_time_is_the_least_of_the_recent_calls() -> None:
    calls = RoundTrips(0.0)
    assert calls.seconds is None
    for seconds in (0.09, 0.08, 0.5):
        calls.took(seconds, 1.0)
    assert calls.seconds == 0.08
    calls.took(0.2, LEAST_OF_SECONDS)
    assert calls.seconds == 0.08  # the time before still counts
    calls.took(0.3, 2 * LEAST_OF_SECONDS)
    assert calls.seconds == 0.2


def test_the_bytes_in_hand_are_those_of_the_payloads_that_are_still_needed() -> None:
    holding = Holding(2, lambda: 0.0)
    holding.tune(2, 0.001)
    assert (holding.bytes_held, holding.rtt_seconds) == (0, None)
    holding.add([Entry(f"{n}-0", {b"p": b"x" * 9}, 1, 10) for n in range(4)])
    assert holding.bytes_held == 40
    [batch] = holding.take_batches(1, 0)
    assert holding.bytes_held == 40
    holding.worked(batch)
    assert holding.bytes_held == 20
    holding.round_trip(0.08)
    assert holding.rtt_seconds == 0.08


class Handler:
    """A handler of a pace, and what an agent has in hand for it."""

    def __init__(self, pace: float) -> None:
        self.now, self.pace = 1000.0, pace
        self.batch = min(64, int(pace * SHORT_SECONDS))
        self.holding = Holding(self.batch, lambda: self.now)
        self.holding.tune(self.batch, self.batch / pace)
        self.read = 0

    def work(self, seconds: float, *, read_took: float) -> None:
        """The handler is kept busy, and each read takes so long."""
        end = self.now + seconds
        while self.now < end:
            self.holding.read_took(read_took, 1)
            while self.holding.room().items:
                self.take_in(self.holding.room().items)
            [batch] = self.holding.take_batches(1, 0)
            self.now += len(batch) / self.pace
            self.holding.tune(self.batch, self.batch / self.pace, good=len(batch))
            self.holding.drop(e.id for e in batch)

    def take_in(self, count: int) -> None:
        self.read += count
        self.holding.add(Entry(f"{self.read - n}-0", {b"p": b"x"}) for n in range(count))

    @property
    def seconds_held(self) -> float:
        return len(self.holding) / self.pace


@pytest.mark.parametrize("rtt", [0.001, 0.02, 0.08, 0.2, 1.5])
@pytest.mark.parametrize("pace", [100.0, 10_000.0])
def test_what_is_read_ahead_lasts_for_more_than_a_round_trip_and_not_for_long(rtt, pace) -> None:
    handler = Handler(pace)
    handler.work(4.0, read_took=rtt)
    two_batches = 2 * handler.batch / pace
    assert handler.seconds_held > min(two_batches / 2, rtt)
    most = min(READS_AHEAD * rtt, rtt + HOLD_SECONDS)
    assert handler.seconds_held >= 0.4 * most or rtt < two_batches
    assert handler.seconds_held <= max(two_batches, most) + handler.batch / pace


def test_where_reads_take_long_for_other_reasons_than_the_link_little_more_is_held() -> None:
    handler = Handler(200.0)
    handler.holding.round_trip(0.5)
    handler.work(10.0, read_took=5.0)
    link = READS_AHEAD * 0.5
    assert 0.4 * link < handler.seconds_held <= link + SLACK_SECONDS + handler.batch / 200.0


WHOLE, FREE = LARGEST_STEP, 10 * LARGEST_TAKE_BYTES


def hand(ahead: int, *, ready: int = 0, held: int = 0, free_bytes: int = FREE) -> Hand:
    return Hand(ahead, ready, held or ready, 100 * WHOLE, free_bytes)


def test_further_reads_are_for_more_items_than_one_call_brings() -> None:
    room, wanted = Room(), hand(3 * WHOLE + 10)
    first = room.free(wanted)
    room.ask(first)
    assert (first, room.further(wanted)) == ((WHOLE, LARGEST_TAKE_BYTES), NOTHING)
    room.brought(WHOLE)  # there is more on the stream
    for _ in range(2):
        assert room.further(wanted) == (WHOLE, FURTHER_READ_BYTES)
        room.ask(room.further(wanted))
    assert room.further(wanted) == NOTHING
    room.over(first)
    assert room.further(wanted) == (WHOLE, FURTHER_READ_BYTES)


@pytest.mark.parametrize("came", [0, 1, WHOLE - 1])
def test_no_further_read_is_under_way_at_the_end_of_the_stream_or_for_large_items(came) -> None:
    room = Room()
    room.brought(WHOLE)
    room.brought(came)
    assert room.further(hand(5 * WHOLE)) == NOTHING


READS = st.lists(
    st.tuples(
        st.booleans(), st.integers(0, 2 * WHOLE), st.integers(0, 2**28), st.integers(0, 4 * WHOLE)
    )
)


@given(reads=READS)
def test_all_reads_under_way_together_pass_no_bound(reads) -> None:
    room, asked = Room(), [Ask(0, 0)]
    room.brought(WHOLE)
    for further, ready, free_bytes, ahead in reads:
        now = hand(ahead, ready=ready, free_bytes=free_bytes)
        ask = room.further(now) if further else room.free(now)
        assert ask == NOTHING or (ask.items and ask.max_bytes)
        if ask != NOTHING:
            assert ready + sum(a.items for a in asked) + ask.items <= ahead
            assert sum(a.max_bytes for a in asked) + ask.max_bytes <= free_bytes
        room.ask(ask)
        asked.append(ask)
        if len(asked) > 3:
            room.over(asked.pop(0))


@pytest.mark.parametrize(
    ("wanted", "items"),
    [
        (
            Hand(ahead=100, ready=0, held=97, most=100, free_bytes=FREE),
            3,
        ),  # the handler has nothing
        (Hand(ahead=100, ready=60, held=60, most=1000, free_bytes=FREE), 0),
        (Hand(ahead=0, ready=0, held=0, most=1000, free_bytes=FREE), 0),
        (Hand(ahead=10, ready=0, held=1001, most=1000, free_bytes=FREE), 0),
    ],
)
def test_few_items_are_read_only_where_the_handler_would_have_none(wanted, items) -> None:
    ask = Room().free(wanted)
    assert ask == (Ask(items, LARGEST_TAKE_BYTES) if items else NOTHING)


def test_few_items_are_not_read_while_another_read_may_bring_many() -> None:
    room = Room()
    room.ask(Ask(90, 10))
    assert room.free(hand(100)) == NOTHING


def test_a_further_read_is_for_a_whole_call() -> None:
    room = Room()
    room.brought(WHOLE)
    assert room.further(hand(WHOLE - 1)) == NOTHING


def test_one_slow_read_counts_for_a_part_of_the_next_ones() -> None:
    window = Window(2, 0.0)
    window.read_took(0.2)
    window.read_took(1.2)
    assert window.hold_seconds == pytest.approx(HOLD_SECONDS + READS_AHEAD * 0.4)


def test_what_the_handler_did_long_ago_does_not_count_for_its_pace() -> None:
    window = Window(64, 0.0)
    window.round_trips.took(0.2, 0.0)
    window.read_took(0.2)
    window.tune(1, 0.0001, 0.2, good=1000)
    window.took(1, 10.0)  # 100 in a second until now
    window.tune(1, 0.0001, 10.1, good=1)
    assert window.ahead(10.1) == FIRST_GROWTH * 100 * PACE_SECONDS


@pytest.mark.parametrize(
    ("good", "item_seconds", "ahead"),
    [
        (0, 0.0001, 2),  # it only failed
        (1, 0.0001, 8),  # eight times what it did, however quick its first item was
        (8, 0.0001, 64),
        (100, 0.0001, LARGEST_STEP),
        (8, 0.02, 40),  # no more than it should need during four round trips
        (100, 0.2, 4),
    ],
)
def test_far_away_it_begins_with_few_and_grows_by_what_the_handler_did(
    good, item_seconds, ahead
) -> None:
    window = Window(64, 0.0)
    window.round_trips.took(0.2, 0.0)
    window.read_took(0.2)
    window.tune(1, None, 0.1)
    window.took(100, 0.1)
    window.tune(1, item_seconds, 0.2, good=good)
    assert window.ahead(0.2) == ahead
