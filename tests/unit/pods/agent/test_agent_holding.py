"""Items in hand are bounded, are never lost, and come in the right order."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from pods.agent.holding import MOST_BATCHES, MOST_BYTES, Holding
from pods.agent.stream import LARGEST_TAKE_BYTES, Entry
from pods.agent.window import HOLD_SECONDS, LEAST_LEAD_SECONDS, READ_AHEAD_BATCHES
from tests.support.examples import examples


class Clock:
    now = 1000.0

    def __call__(self):
        return self.now


def entry(number, *, size=1, deliveries=1):
    return Entry(f"{number}-0", {b"": b"x" * size}, deliveries, size)


def quick(batch_size, *args, **options):
    """What an agent has in hand whose handler takes no time for a batch."""
    holding = Holding(batch_size, *args, **options)
    holding.tune(batch_size, 0.001)
    return holding


def take_batch(holding):
    [batch] = holding.take_batches(1, 0) or [[]]
    return batch


def test_no_more_is_read_ahead_than_two_batches():
    holding = quick(10, Clock())
    assert holding.room()[0] == 20
    holding.add(entry(n) for n in range(10))
    assert holding.room()[0] == 10
    take_batch(holding)
    assert holding.room()[0] == 20


def test_large_payloads_leave_no_room_until_the_handler_has_finished_them():
    holding = quick(10, Clock())
    holding.add([entry(1, size=MOST_BYTES)])
    assert holding.room()[1] == 0
    batch = take_batch(holding)
    assert holding.room() == (0, 0)
    holding.worked(batch)
    assert holding.room() == (20, LARGEST_TAKE_BYTES)


def test_the_same_item_is_not_taken_in_hand_twice():
    holding = quick(10, Clock())
    assert holding.add([entry(1), entry(2)]) == 2
    assert holding.add([entry(1), entry(3)]) == 1
    assert [e.id for e in take_batch(holding)] == ["1-0", "2-0", "3-0"]


def test_an_item_that_was_delivered_often_is_tried_alone():
    holding = quick(10, Clock())
    holding.add([entry(1), entry(2, deliveries=3), entry(3)])
    assert [holding.is_suspect(f"{n}-0") for n in (1, 2, 3)] == [False, True, False]
    # also the batches that are sent together do not mix a suspect with others
    taken = [[e.id for batch in holding.take_batches(4, 0) for e in batch] for _ in range(3)]
    assert taken == [["1-0"], ["2-0"], ["3-0"]]


def test_the_items_of_a_batch_that_crashed_are_tried_alone_from_then_on():
    holding = quick(10, Clock())
    holding.add([entry(1), entry(2)])
    batch = take_batch(holding)
    holding.suspect(batch)
    holding.worked(batch)
    for e in batch:
        holding.retry_later(e.id, 1)
    holding.add([entry(1, deliveries=2), entry(2, deliveries=2)])
    assert [len(take_batch(holding)) for _ in range(2)] == [1, 1]


def test_after_a_crash_in_company_each_item_is_tried_alone_and_that_try_counts():
    holding = quick(10, Clock())
    holding.add([entry(1), entry(2), entry(3)])
    batch = take_batch(holding)
    holding.add([entry(4)])
    holding.try_each_alone(batch)
    again = [take_batch(holding) for _ in range(4)]
    assert [[(e.id, e.deliveries, e.counted) for e in batch] for batch in again] == [
        [("1-0", 2, False)],
        [("2-0", 2, False)],
        [("3-0", 2, False)],
        [("4-0", 1, True)],
    ]


def test_an_item_whose_try_was_not_counted_keeps_its_deliveries_when_it_is_given_back():
    holding = quick(1, Clock())
    taken = Entry("1-0", {b"": b"x"}, 2, 1, counted=False)
    holding.add([taken])
    assert dict(holding.all()) == {"1-0": True}
    take_batch(holding)
    holding.begun([taken])
    holding.put_back([taken])
    assert dict(holding.all()) == {"1-0": False}


def test_the_pause_before_a_retry_doubles_and_ends_at_half_a_minute():
    clock = Clock()
    holding = quick(10, clock)
    holding.add([entry(1)])
    for deliveries, pause in ((1, 0.5), (2, 1.0), (4, 4.0), (20, 30.0)):
        holding.retry_later("1-0", deliveries)
        assert holding.due(10, 1) == []
        clock.now += pause
        assert holding.due(10, 1) == ["1-0"]


def test_no_more_failed_items_are_taken_again_than_their_bytes_allow():
    clock = Clock()
    holding = quick(10, clock, most_bytes=250)
    for n in range(5):
        holding.add([entry(n, size=100)])
        holding.worked(take_batch(holding))
        holding.retry_later(f"{n}-0", 1)
    clock.now += 1
    holding.add([entry(9, size=100)])
    assert holding.retry_room() == (19, 150)
    assert holding.due(*holding.retry_room()) == ["0-0", "1-0"]
    assert holding.due(10, 1) == ["2-0"]
    assert holding.due(1, 1_000) == ["3-0"]


def test_a_batch_that_was_not_begun_is_next_again_and_counts_as_untried():
    holding = quick(2, Clock())
    holding.add([entry(1), entry(2), entry(3)])
    batch = take_batch(holding)
    assert dict(holding.all()) == {"1-0": True, "2-0": True, "3-0": False}
    holding.put_back(batch)
    assert not any(tried for _, tried in holding.all())
    assert [e.id for e in take_batch(holding)] == ["1-0", "2-0"]


def test_an_item_that_was_delivered_before_counts_as_tried_only_if_the_handler_gets_it():
    holding = quick(1, Clock())
    holding.add([entry(1, deliveries=2), entry(2, deliveries=4)])
    assert dict(holding.all()) == {"1-0": False, "2-0": False}
    batch = take_batch(holding)
    assert dict(holding.all()) == {"1-0": True, "2-0": False}
    holding.put_back(batch)
    assert not any(tried for _, tried in holding.all())


def test_a_failed_item_that_waits_for_its_next_try_counts_as_tried():
    holding = quick(1, Clock())
    holding.add([entry(1, deliveries=2)])
    holding.worked(take_batch(holding))
    holding.retry_later("1-0", 2)
    assert dict(holding.all()) == {"1-0": True}


def test_an_item_that_another_has_claimed_is_dropped_unless_the_handler_works_on_it():
    holding = quick(1, Clock())
    holding.add([entry(1), entry(2)])
    take_batch(holding)
    holding.drop_lost(["1-0", "2-0"])
    assert [e for e, _ in holding.all()] == ["1-0"]


def test_idle_time_begins_when_the_last_item_leaves():
    clock = Clock()
    holding = quick(10, clock)
    clock.now += 5
    assert holding.idle_ms() == 5000
    holding.add([entry(1)])
    clock.now += 5
    assert (holding.idle_ms(), holding.oldest_ms()) == (0, 5000)
    holding.drop(["1-0"])
    clock.now += 1
    holding.drop(["1-0"])
    assert (holding.idle_ms(), holding.oldest_ms()) == (1000, 0)
    assert holding.held_ms() == 5000
    holding.add([entry(2)])
    clock.now += 2
    holding.add([entry(3)])
    holding.drop(["2-0"])
    clock.now += 1
    assert holding.held_ms() == 8000


class AnyOrder(RuleBasedStateMachine):
    """Whatever happens in any order, no item is lost and no bound is passed."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.holding = quick(4, self.clock)
        self.read = 0
        self.expected = set()
        self.batches = []

    @rule()
    def reads_what_there_is_room_for(self):
        count, _ = self.holding.room()
        fresh = [entry(self.read + n) for n in range(count)]
        self.read += count
        self.expected |= {e.id for e in fresh}
        assert self.holding.add(fresh) == count

    @rule()
    def works(self):
        if batch := take_batch(self.holding):
            self.batches.append(batch)

    @rule(fails=st.booleans())
    def ends_a_batch(self, fails):
        if self.batches:
            batch = self.batches.pop(0)
            self.holding.worked(batch)
            if fails:
                for e in batch:
                    self.holding.retry_later(e.id, 1)
            else:
                self.holding.drop(e.id for e in batch)
                self.expected -= {e.id for e in batch}

    @rule()
    def crashes(self):
        if self.batches:
            self.holding.put_back(self.batches.pop())

    @rule(seconds=st.floats(0, 2))
    def retries(self, seconds):
        self.clock.now += seconds
        due = self.holding.due(*self.holding.retry_room())
        assert self.holding.add(Entry(e, {b"": b"x"}, 2) for e in due) == len(due)

    @rule()
    def gives_back(self):
        self.clock.now += 3
        given_back = [e for e, _ in self.holding.surplus()]
        self.holding.drop(given_back)
        self.expected -= set(given_back)

    @rule()
    def hears_from_the_handler(self):
        self.holding.tune(4, 0.001)

    @invariant()
    def nothing_is_lost_and_bounds_hold(self):
        assert {e for e, _ in self.holding.all()} == self.expected
        assert len(self.holding) <= MOST_BATCHES * 4
        assert self.holding.room()[0] <= READ_AHEAD_BATCHES * 4
        assert self.holding.room()[1] <= MOST_BYTES


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(max_examples=examples(), deadline=None)


def test_one_item_is_taken_first_and_no_other_until_the_handler_has_answered() -> None:
    holding = Holding(64)
    holding.tune(1, None)
    assert holding.room()[0] == 1
    holding.add([entry(1)])
    assert holding.room()[0] == 0
    take_batch(holding)
    assert holding.room()[0] == 0
    holding.tune(2, 0.01)
    assert holding.room()[0] == 4


def test_the_next_long_batch_is_read_when_the_present_one_is_about_to_end() -> None:
    clock = Clock()
    holding = Holding(64, clock)
    holding.tune(2, 10.0)
    holding.add([entry(1), entry(2)])
    assert holding.room()[0] == 0
    take_batch(holding)
    clock.now += 10 - 2 * LEAST_LEAD_SECONDS
    assert holding.room()[0] == 0
    clock.now += 1.5 * LEAST_LEAD_SECONDS
    assert holding.room()[0] == 2
    holding.add([entry(3), entry(4)])
    assert holding.room()[0] == 0
    holding.tune(2, 10.0)  # it has answered
    take_batch(holding)
    assert holding.room()[0] == 0


def test_over_a_slow_link_the_next_long_batch_is_read_earlier() -> None:
    clock = Clock()
    holding = Holding(64, clock)
    holding.tune(2, 10.0)
    holding.read_took(0.2, 2)
    holding.add([entry(1), entry(2)])
    take_batch(holding)
    clock.now += 10 - 0.9
    assert holding.room()[0] == 0
    clock.now += 0.2
    assert holding.room()[0] == 2


def test_items_that_the_handler_does_not_come_to_are_given_back() -> None:
    clock = Clock()
    holding = quick(2, clock)
    holding.add([entry(n) for n in range(4)])
    take_batch(holding)
    clock.now += HOLD_SECONDS
    assert holding.surplus() == []
    clock.now += 1
    assert holding.surplus() == [("2-0", False), ("3-0", False)]  # no try of theirs has begun
    assert take_batch(holding) == []
    assert holding.room()[0] == 0
    assert holding.surplus() == [("2-0", False), ("3-0", False)]  # until they are dropped
    holding.drop(["2-0", "3-0"])
    assert holding.surplus() == []
    assert [e for e, _ in holding.all()] == ["0-0", "1-0"]
    holding.tune(2, 0.001)
    assert holding.room()[0] == 4


def test_what_was_given_back_while_the_handler_restarted_leaves_room_afterwards() -> None:
    clock = Clock()
    holding = quick(2, clock)
    holding.add([entry(1), entry(2)])
    clock.now += HOLD_SECONDS + 1
    holding.drop([given for given, _ in holding.surplus()])
    assert holding.room()[0] == 0  # no batch is inside, so no answer will change that
    holding.rest()
    assert holding.room()[0] > 0


def test_what_waits_for_its_next_try_is_not_surplus_and_can_be_listed() -> None:
    holding = quick(2, Clock())
    holding.add([entry(1), entry(2), entry(3)])
    holding.worked(take_batch(holding))
    assert holding.waiting(9) == []
    holding.retry_later("1-0", 1)
    holding.retry_later("2-0", 1)
    assert holding.waiting(9) == ["1-0", "2-0"]
    assert holding.waiting(1) == ["1-0"]
    assert holding.surplus() == []


def test_a_suspect_that_waits_is_not_given_back() -> None:
    clock = Clock()
    holding = quick(2, clock)
    holding.add([entry(1), entry(2, deliveries=3), entry(3)])
    clock.now += 60
    assert [e for e, _ in holding.surplus()] == ["1-0", "3-0"]
    assert [e.id for e in take_batch(holding)] == ["2-0"]


def test_few_items_are_not_read_while_there_are_others_to_work_on() -> None:
    holding = quick(10)
    holding.add([Entry(f"1-{n}", {b"p": b"x"}) for n in range(15)])
    assert holding.room() == (0, 0)
    holding.drop(e.id for e in take_batch(holding))
    assert holding.room()[0] == 15


def test_a_suspect_is_alone_only_when_the_results_of_the_others_are_out() -> None:
    holding = Holding(4)
    holding.add([entry(1), entry(2, deliveries=3)])
    before = take_batch(holding)
    suspect = take_batch(holding)[0].id
    assert not holding.is_alone(suspect)  # the handler has another item
    holding.worked(before)
    assert not holding.is_alone(suspect)  # its result is on the way
    holding.drop(e.id for e in before)
    assert holding.is_alone(suspect)
