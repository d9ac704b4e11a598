"""A range in hand, without a handler's process: what is flushed, when, and in which order."""

import pytest

from pods.agent.calling import Failed
from pods.agent.dataset.rows import Chunk
from pods.agent.dataset.values import packed
from pods.agent.dataset.work import Slot, Work
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
