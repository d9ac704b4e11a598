"""A range in hand, without a handler's process: what is flushed, when, and in which order."""

import math

import pyarrow as pa
import pytest

from pods.agent.calling import Failed
from pods.agent.dataset.columns import ColumnsCaller
from pods.agent.dataset.rows import Chunk
from pods.agent.dataset.values import packed
from pods.agent.dataset.work import Slot, Work
from pods.agent.handlers import Item
from pods.agent.protocol import MOST_FAILING
from pods.agent.ranges import Format, Range, Source
from pods.agent.stream import Entry

ENTRY = Entry("1-1", {})
OF = Range(Source("file:///t", "e", 10, Format.PARQUET), 0, 100, 100, "file:///out")


class Flushed(list):
    def __call__(self, work, slot):
        self.append(None if slot is None else (slot.ids, sorted(slot.good), sorted(slot.failed)))


@pytest.fixture
def flushed():
    return Flushed()


def work(flushed, *, tries=3, last=False):
    return Work(ENTRY, OF, flushed, most_tries=tries, last=last)


def chunk(count, bad=()):
    rows = [{b"payload": b"x"} for _ in range(count)]
    return Chunk([str(n) for n in range(count)], range(1, count + 1), rows, count, dict(bad))


def fed(of, *slots):
    batches = []
    for slot in slots:
        assert of.add(slot)
        batch = slot.first_batch()
        batch.work = of
        batches.append(batch)
    return batches


def good(batch):
    return [packed(1) for _ in batch.numbers]


def test_slots_are_flushed_in_order_whatever_finishes_first(flushed):
    of, rows = work(flushed), chunk(4)
    first, second = fed(of, Slot(rows, 0, 2), Slot(rows, 2, 4))
    of.settle(second, good(second))
    assert (flushed, of.end) == ([], 0)
    of.settle(first, good(first))
    assert flushed == [(["0", "1"], [0, 1], []), (["2", "3"], [0, 1], [])]
    assert (of.end, of.flushed) == (4, 4)


def test_rows_that_are_finished_take_no_memory_while_others_are_awaited(flushed):
    of, rows = work(flushed), chunk(4)
    _, second = fed(of, Slot(rows, 0, 2), Slot(rows, 2, 4))
    of.settle(second, good(second))
    assert second.slot._rows is None


def test_a_range_begins_with_its_first_row(flushed):
    of, rows = work(flushed), chunk(2)
    assert of.began is None
    fed(of, Slot(rows, 0, 1))
    began = of.began
    assert began is not None
    fed(of, Slot(rows, 1, 2))
    assert of.began == began


def test_a_failed_row_is_tried_again_before_its_slot_is_flushed(flushed):
    of = work(flushed)
    [batch] = fed(of, Slot(chunk(2), 0, 2))
    for tries in (2, 3):
        [batch] = of.settle(batch, [packed(1), Failed("x")][-len(batch.numbers) :])
        assert (list(batch.numbers), batch.tries, flushed) == ([1], tries, [])
    assert of.settle(batch, [Failed("x")]) == []
    assert flushed == [(["0", "1"], [0], [1])]


def test_a_bad_row_of_the_input_is_not_given_to_the_handler(flushed):
    slot = Slot(chunk(3, {1: "not JSON"}), 0, 3)
    of = work(flushed)
    [batch] = fed(of, slot)
    assert list(batch.numbers) == [0, 2]
    of.settle(batch, good(batch))
    assert slot.failed[1].tries == 0
    assert flushed == [(["0", "1", "2"], [0, 2], [1])]


def test_a_bad_row_belongs_to_the_slot_in_which_it_lies():
    rows = chunk(6, {1: "not JSON", 4: "not JSON"})
    assert [sorted(Slot(rows, n, n + 2).failed) for n in (0, 2, 4)] == [[1], [], [0]]


def test_how_long_a_range_will_take_is_unknown_before_its_first_row_is_finished(flushed):
    of, rows = work(flushed), chunk(100)
    assert (of.seconds_left(), of.row_seconds()) == (math.inf, math.inf)
    first, _ = fed(of, Slot(rows, 0, 10), Slot(rows, 10, 20))
    assert of.seconds_left() == math.inf
    of.settle(first, good(first))
    of.began -= 20
    assert 2 <= of.row_seconds() < 2.1
    assert 160 <= of.seconds_left() < 168
    fed(of, Slot(rows, 20, 100))
    assert of.seconds_left() == 0
    fed(of, Slot(rows, 0, 5))  # the number of rows was an estimate
    assert of.seconds_left() == 0
    other = work(flushed)
    fed(other, Slot(rows, 0, 100))
    assert other.seconds_left() == 0


def test_a_row_that_no_other_try_can_help_is_not_tried_again(flushed):
    of = work(flushed)
    [batch] = fed(of, Slot(chunk(2), 0, 2))
    [again] = of.settle(batch, [Failed("x", final=True), Failed("y")])
    assert (list(again.numbers), sorted(batch.slot.failed)) == ([1], [0])


def test_rows_of_a_range_that_failed_are_not_tried_again(flushed):
    of = work(flushed)
    [batch] = fed(of, Slot(chunk(2), 0, 2))
    of.close(error=Failed("cannot be read"))
    of.close(error=Failed("later"))
    assert of.settle(batch, [Failed("x"), packed(1)]) == []
    assert (of.error.error, sorted(batch.slot.failed)) == ("cannot be read", [0])
    assert flushed[-1] is None


def test_a_range_is_closed_once_when_all_rows_are_finished(flushed):
    of = work(flushed)
    [batch] = fed(of, Slot(chunk(1), 0, 1))
    of.close(whole=True)
    assert flushed == []
    of.settle(batch, good(batch))
    of.close()
    assert flushed[1:] == [None]
    assert of.whole


def test_a_closed_range_takes_no_more_rows(flushed):
    of, rows = work(flushed), chunk(2)
    [batch] = fed(of, Slot(rows, 0, 1))
    of.close()
    assert not of.add(Slot(rows, 1, 2))
    of.settle(batch, good(batch))
    assert (len(flushed), flushed[-1], of.skipped, of.end) == (2, None, True, 1)


def test_an_abandoned_range_keeps_what_was_finished_in_order(flushed):
    of, rows = work(flushed), chunk(3)
    first, _, third = fed(of, *(Slot(rows, n, n + 1) for n in range(3)))
    of.settle(first, good(first))
    of.settle(third, good(third))
    of.abandon()
    assert flushed == [(["0"], [0], []), None]
    assert of.end == 1


def test_a_range_whose_first_rows_all_fail_is_given_up_as_a_whole(flushed):
    of = work(flushed, tries=1)
    [batch] = fed(of, Slot(chunk(40), 0, 40))
    assert of.settle(batch, [Failed("lost GPU")] * 40) == []
    assert "the first 40 rows all failed: lost GPU" in of.error.error
    assert flushed[-1] is None


def test_rows_that_wait_for_their_next_try_fail_with_the_range(flushed):
    of = work(flushed)
    [batch] = fed(of, Slot(chunk(40, {0: "not JSON"}), 0, 40))
    told = [Failed("lost GPU", "trace", final=True)] * MOST_FAILING
    assert of.settle(batch, [*told, *[Failed("x")] * (39 - MOST_FAILING)]) == []
    assert of.error.error == f"the first {MOST_FAILING} rows all failed: lost GPU"
    assert of.error.traceback == "trace"
    assert len(batch.slot.failed) == 40


@pytest.mark.parametrize(("succeeded", "failed"), [(0, MOST_FAILING - 1), (1, MOST_FAILING)])
def test_a_range_goes_on_where_a_row_is_good_or_few_are_bad(flushed, succeeded, failed):
    of = work(flushed, tries=1)
    [batch] = fed(of, Slot(chunk(succeeded + failed), 0, succeeded + failed))
    of.settle(batch, [*good(batch)[:succeeded], *[Failed("x")] * failed])
    assert of.error is None


def test_the_first_error_of_a_range_stays(flushed):
    of, rows = work(flushed, tries=1), chunk(2 * MOST_FAILING)
    first, second = fed(of, Slot(rows, 0, MOST_FAILING), Slot(rows, MOST_FAILING, len(rows)))
    of.settle(first, [Failed("first")] * MOST_FAILING)
    error = of.error
    of.settle(second, [Failed("second")] * MOST_FAILING)
    assert of.error is error


def test_its_last_try_makes_error_rows_of_them(flushed):
    of = work(flushed, tries=1, last=True)
    [batch] = fed(of, Slot(chunk(40), 0, 40))
    of.settle(batch, [Failed("lost GPU")] * 40)
    assert of.error is None
    assert len(flushed[0][2]) == 40


def test_a_batch_after_a_crash_is_in_pieces(flushed):
    of = work(flushed)
    [batch] = fed(of, Slot(chunk(200), 0, 200))
    pieces = batch.pieces()
    assert [n for piece in pieces for n in piece.numbers] == list(range(200))
    assert len(pieces) <= 64
    assert {piece.tries for piece in pieces} == {2}


@pytest.mark.parametrize(("whole", "unfinished"), [(True, True), (True, False), (False, False)])
def test_an_abandoned_range_is_whole_only_if_each_row_is_finished(flushed, whole, unfinished):
    of = work(flushed)
    [batch] = fed(of, Slot(chunk(1), 0, 1))
    if not unfinished:
        of.settle(batch, good(batch))
    of.whole = whole
    of.abandon()
    assert of.whole is (whole and not unfinished)


# Columns.


def columns(count, bad=()):
    batch = pa.RecordBatch.from_pydict({"id": list(map(str, range(count))), "n": range(count)})
    return Chunk(batch.column(0).to_pylist(), range(1, count + 1), batch, count, dict(bad))


def answered(batch, handler=lambda rows: rows.select(["n"])):
    [item] = [Item(entry.id, entry.fields) for entry in batch]
    [made] = ColumnsCaller(handler)([item])
    return [made.packed()]


def numbers_in(slot):
    """Each table of a slot: the place of its first row, and the numbers that the handler returned."""
    return [(first, made.column("n").to_pylist()) for first, made in sorted(slot.tables)]


def test_rows_of_columns_come_back_in_one_table(flushed):
    of = work(flushed)
    [batch] = fed(of, Slot(columns(6), 2, 6))
    assert len(batch) == 1  # one entry for all rows
    assert of.settle(batch, answered(batch)) == []
    assert numbers_in(batch.slot) == [(0, [2, 3, 4, 5])]
    assert (of.good, batch.slot.complete) == (4, True)


def test_a_bad_row_of_columns_is_not_given_to_the_handler(flushed):
    of = work(flushed)
    [batch] = fed(of, Slot(columns(4, {1: "bad"}), 0, 4))
    of.settle(batch, answered(batch))
    assert numbers_in(batch.slot) == [(0, [0]), (2, [2]), (3, [3])]
    assert (of.good, sorted(batch.slot.failed)) == (3, [1])


def test_bad_rows_of_columns_are_tried_again_alone(flushed):
    def refuses(rows):
        if 1 in rows.column("n").to_pylist():
            raise ValueError("one")
        return rows.select(["n"])

    of = work(flushed)
    [batch] = fed(of, Slot(columns(4), 0, 4))
    [again] = of.settle(batch, answered(batch, refuses))
    assert (list(again.numbers), of.good) == ([1], 3)
    assert numbers_in(batch.slot) == [(0, [0]), (2, [2, 3])]
    of.settle(again, answered(again))
    assert numbers_in(batch.slot)[1] == (1, [1])
    assert batch.slot.complete


def test_rows_of_columns_whose_process_has_no_answer_all_fail(flushed):
    of = work(flushed)
    [batch] = fed(of, Slot(columns(4), 0, 4))
    [again] = of.settle(batch, [Failed("timed out")])
    assert list(again.numbers) == [0, 1, 2, 3]


def test_columns_of_which_no_row_is_good_count_none_as_good(flushed):
    of = work(flushed, tries=1)
    [batch] = fed(of, Slot(columns(2), 0, 2))
    of.settle(batch, answered(batch, lambda rows: [1]))
    assert (of.good, len(batch.slot.failed)) == (0, 2)
