"""The way of rows to the handler and back, with a stand-in for the handler's process."""

import pytest

from pods.agent.calling import Failed
from pods.agent.dataset.feeding import WAIT_SECONDS, Feeding, Read
from pods.agent.dataset.rows import Chunk
from pods.agent.dataset.shelf import Shelf
from pods.agent.dataset.values import packed
from pods.agent.dataset.work import Work
from pods.agent.progress import Progress
from pods.agent.protocol import MOST_FAILING
from pods.agent.ranges import Format, Range, Source
from pods.agent.sizing import Sizing
from pods.agent.stream import Entry

OF = Range(Source("file:///t", "e", 10, Format.PARQUET), 0, 1000, 1000, "file:///out")


class Process:
    """Takes what it is given, so many times, and then is closed."""

    def __init__(self, *rooms, refuses=False):
        self._rooms, self._refuses = list(rooms), refuses
        self.given = []

    def wait_for_room(self):
        return self._rooms.pop(0) if self._rooms else 0

    def submit(self, batches):
        assert batches
        if self._refuses:
            return False
        self.given += batches
        return True


class Impatient(Shelf):
    """Does not wait, and remembers for how long it was asked to."""

    def take(self, seconds):
        self.asked = seconds
        return super().take(0)


class Rig:
    def __init__(self):
        self.shelf, self.progress, self.waits = Impatient(10_000), Progress(), []
        self.feeding = Feeding(self.shelf, self.progress, lambda: self.waits.append(self.busy()))
        self.feeding.sizing = Sizing(2, 1.0, halvings=0)
        self.flushed = []

    def busy(self):
        return self.feeding.oldest_ms()

    def range(self, most_tries=1):
        return Work(Entry("1-1", {}), OF, lambda work, slot: self.flushed.append(slot),
                    most_tries=most_tries)  # fmt: skip

    def read(self, of, count, bad=()):
        rows = [{b"payload": b"x"} for _ in range(count)]
        ids = [str(n) for n in range(count)]
        self.shelf.put(Read(of, Chunk(ids, range(1, count + 1), rows, count, dict(bad))), count)

    def feed(self, *rooms):
        """What the handler is given, batch by batch."""
        process = Process(*rooms)
        self.feeding.run(process)
        return process.given

    def answer(self, batches, *outcomes):
        items = [item for batch in batches for item in batch]
        told = list(outcomes) or [packed(1) for _ in items]
        self.feeding.worked(items, told, len(batches), 0.1)


@pytest.fixture
def rig():
    return Rig()


def rows_of(batches):
    return [[batch.slot.ids[n] for n in batch.numbers] for batch in batches]


def test_rows_are_given_in_order_and_as_many_batches_as_there_is_room(rig):
    rig.read(rig.range(), 5)
    assert rows_of(rig.feed(2)) == [["0", "1"], ["2", "3"]]
    assert rows_of(rig.feed(2, 2)) == [["4"]]


def test_rows_of_the_next_range_follow_at_once(rig):
    first, second = rig.range(), rig.range()
    rig.read(first, 2)
    rig.shelf.put(Read(first, None), 0)
    rig.read(second, 2)
    given = rig.feed(3)
    assert [batch.work for batch in given] == [first, second]
    assert first.whole
    assert not second.closing


def test_a_process_that_is_closed_gets_nothing_more(rig):
    rig.read(rig.range(), 8)
    process = Process(1, 1, refuses=True)
    rig.feeding.run(process)
    assert process.given == []
    assert rows_of(rig.feed(1)) == [["2", "3"]]  # the second room was not used


def test_rows_that_cannot_be_read_are_not_given_and_the_range_goes_on(rig):
    of = rig.range()
    rig.read(of, 4, {0: "bad", 1: "bad", 2: "bad"})
    assert rows_of(rig.feed(2)) == [["3"]]
    assert len(rig.flushed) == 1


def test_rows_of_a_closed_range_are_passed_over(rig):
    closed, of = rig.range(), rig.range()
    rig.read(closed, 6)
    closed.close()
    rig.shelf.put(Read(closed, None), 0)
    rig.read(of, 1)
    assert [batch.work for batch in rig.feed(1)] == [of]
    assert closed.skipped
    assert not closed.whole


def test_a_range_that_cannot_be_read_fails_when_its_turn_comes(rig):
    of = rig.range()
    rig.shelf.put(Read(of, Failed("no such file")), 0)
    assert rig.feed(1) == []
    assert of.error.error == "no such file"
    assert not of.whole


def test_a_handler_without_work_waits_for_rows_and_one_with_work_does_not(rig):
    assert rig.feed(1) == []
    assert rig.shelf.asked == WAIT_SECONDS
    rig.read(rig.range(), 2)
    assert len(rig.feed(5)) == 1
    assert rig.shelf.asked == 0


def test_rows_that_are_tried_again_come_before_new_ones(rig):
    of = rig.range(most_tries=2)
    rig.read(of, 4)
    first = rig.feed(1)
    rig.answer(first, packed(1), Failed("x"))
    assert rows_of(rig.feed(2)) == [["1"], ["2", "3"]]


def test_answers_of_several_batches_go_to_the_rows_of_each(rig):
    of = rig.range()
    rig.read(of, 3)
    batches = rig.feed(2)
    rig.answer(batches, packed("a"), Failed("no"), packed("c"))
    assert [sorted(slot.good) for slot in rig.flushed] == [[0], [0]]
    assert (rig.progress.counts().done, rig.progress.counts().failed) == (2, 1)


def test_a_handler_hangs_only_while_it_has_rows_and_its_answers_are_heard(rig):
    assert rig.busy() == 0
    rig.read(rig.range(), 6)
    first, second, _ = rig.feed(3)
    for batch in (first, second):
        batch.sent -= 5
    assert 5000 <= rig.busy() < 6000
    rig.answer([first])
    assert rig.waits == [0]  # meanwhile the writer may wait for the store
    assert rig.busy() < 1000


def test_a_row_whose_process_crashed_alone_has_failed_and_others_are_tried_again(rig):
    of = rig.range(most_tries=3)
    rig.read(of, 6)
    first, second, unsent = rig.feed(3)
    rig.feeding.crashed(first, [second], "it crashed")
    again = rig.feed(10)
    assert rows_of(again) == [["0"], ["1"], ["2", "3"]]
    assert [batch.tries for batch in again] == [2, 2, 1]
    assert rig.feeding._sent[0] is unsent  # its sender waits for the next process
    rig.answer([unsent])
    rig.feeding.crashed(again[0], again[1:], "it crashed again")
    assert again[0].slot.failed[0].error == "it crashed again"
    assert rows_of(rig.feed(10)) == [["1"], ["2", "3"]]


def failing(rig):
    return rig.progress.in_a_row


def test_rows_that_fail_without_a_good_one_count_as_failing_in_a_row(rig):
    of = rig.range()
    of.last = True
    rig.feeding.sizing = Sizing(MOST_FAILING, 1.0, halvings=0)
    rig.read(of, MOST_FAILING * 2, {0: "not JSON"})
    first, second = rig.feed(2)
    rig.answer([first], *[Failed("x")] * (MOST_FAILING - 2), packed(1))
    assert failing(rig) == 0  # one was good
    rig.answer([second], *[Failed("y")] * MOST_FAILING)
    assert failing(rig) == MOST_FAILING
    rig.read(of, MOST_FAILING)
    of.closing = False
    [third] = rig.feed(1)
    third.slot.ids[:] = [f"other {n}" for n in range(MOST_FAILING)]
    rig.answer([third], *[Failed("z")] * MOST_FAILING)
    assert failing(rig) == MOST_FAILING  # more are not counted


def test_a_row_that_is_tried_again_does_not_count_as_failing(rig):
    of = rig.range(most_tries=3)
    rig.read(of, 2)
    rig.answer(rig.feed(1), Failed("x"), Failed("y"))
    assert failing(rig) == 0


def test_a_row_that_failed_for_good_counts_beside_one_that_is_tried_again(rig):
    of = rig.range(most_tries=3)
    rig.read(of, 2)
    rig.answer(rig.feed(1), Failed("x", final=True), Failed("y"))
    assert failing(rig) == 1


def test_only_rows_that_the_handler_had_count_as_failing(rig):
    of = rig.range()
    rig.read(of, 2, {0: "not JSON"})
    rig.answer(rig.feed(1), Failed("x"))
    assert failing(rig) == 1
