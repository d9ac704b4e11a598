"""Finished rows become parts: what is written, when, and what is left of a range."""

import logging
import random
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pods.agent.calling import Failed
from pods.agent.dataset import schema as schemas
from pods.agent.dataset.parts import Part, Written
from pods.agent.dataset.rows import Chunk
from pods.agent.dataset.values import packed
from pods.agent.dataset.work import Slot, Work
from pods.agent.dataset.writing import Draft, Writing
from pods.agent.ranges import Format, PartFormat, Range, Source
from pods.agent.stream import Entry

OF = Range(Source("file:///t", "e", 10, Format.PARQUET), 0, 100, 100, "file:///out")
RANGE_BYTES = 160_000  # at most 80,000 of one part


class Ended(Exception):
    """All ranges of the test are closed."""


class Rig:
    """A writer whose parts go nowhere."""

    def __init__(self, range_bytes=RANGE_BYTES, schema=None):
        self.asked, self.closed, self.schema = [], [], schema
        self.writing = Writing(range_bytes, self._fix, self._on_closed)

    def _fix(self, wanted):
        self.asked.append(wanted)
        return self.schema or wanted

    def _on_closed(self, closed):
        self.closed.append(closed)
        if len(self.closed) == self._until:
            raise Ended

    def work(self, of=OF):
        return Work(Entry("1-1", {}), of, self.writing.put, most_tries=1)

    def run(self, ranges=1):
        """Write until so many ranges are closed. Returns the last one."""
        self._until = len(self.closed) + ranges
        with pytest.raises(Ended):
            self.writing.run()
        return self.closed[-1]


@pytest.fixture
def rig():
    return Rig()


def finish(of, *results, first=0):
    """The handler has these results for the next rows. `first`: the number of the first one."""
    count = len(results)
    rows = [{b"payload": b"x"} for _ in range(count)]
    ends = range(first + 1, first + count + 1)
    slot = Slot(Chunk([str(first + n) for n in range(count)], ends, rows, count), 0, count)
    assert of.add(slot)
    batch = slot.first_batch()
    outcomes = [r if isinstance(r, Failed) else packed(r) for r in results]
    assert of.settle(batch, outcomes) == []
    return slot


def read(written):
    return pq.read_table(pa.BufferReader(written.part)).to_pylist()


def noise(size):
    return random.Random(size).randbytes(size)


def test_a_range_of_which_each_row_is_finished_has_one_part_and_no_rest(rig):
    of = rig.work()
    finish(of, 1, Failed("bad"), 3)
    finish(of, 4, first=3)
    of.close(whole=True)
    closed = rig.run()
    assert (closed.done, closed.rest) == (OF, ())
    assert read(closed.written) == [{"id": n, "result": int(n) + 1} for n in ("0", "2", "3")]
    assert closed.written.failed == ["1"]


def test_tables_of_columns_are_written_in_the_order_of_the_rows(rig):
    of = rig.work()
    slot = Slot(Chunk(["a", "b", "c"], [1, 2, 3], [{}] * 3, 3), 0, 3)
    assert of.add(slot)
    for number, n in ((2, 30), (0, 10), (1, 20)):
        slot.keep_table([number], pa.table({"n": [n]}))
    of.close(whole=True)
    assert read(rig.run().written) == [
        {"id": "a", "n": 10}, {"id": "b", "n": 20}, {"id": "c", "n": 30},
    ]  # fmt: skip
    assert [schema.names for schema in rig.asked] == [["id", "n"]]


def test_the_schema_is_asked_for_once_and_holds_for_all_ranges(rig):
    for number in (1, 2):
        of = rig.work()
        finish(of, number)
        of.close(whole=True)
    rig.run(2)
    assert [schema.names for schema in rig.asked] == [["id", "result"]]
    assert [read(closed.written)[0]["result"] for closed in rig.closed] == [1, 2]


def test_the_schema_that_another_pod_has_fixed_counts():
    rig = Rig(schema=schemas.schema_of([{"result": 0.5}]))
    of = rig.work()
    finish(of, 1)
    of.close(whole=True)
    assert read(rig.run().written) == [{"id": "0", "result": 1.0}]


def test_rows_that_all_failed_fix_no_schema(rig):
    of = rig.work()
    finish(of, Failed("bad"))
    of.close(whole=True)
    assert read(rig.run().written) == []
    assert rig.asked == [None]


def test_parts_of_lines_need_no_schema(rig):
    of = rig.work(OF.__class__(**{**vars(OF), "part_format": PartFormat.JSONL}))
    finish(of, 1)
    of.close(whole=True)
    assert rig.run().written.part == b'{"id":"0","result":1}\n'
    assert rig.asked == []


def test_the_first_results_wait_until_they_are_enough_to_fix_a_schema(rig):
    of, late = rig.work(), rig.work()
    small = finish(of, b"x")
    rig.writing._add(of, small)
    assert (rig.asked, rig.writing._drafts[id(of)].part) == ([], None)
    rig.writing._add(of, finish(of, noise(20_000), first=1))
    assert len(rig.asked) == 1
    rig.writing._add(late, finish(late, b"y"))  # others are written at once from now on
    assert rig.writing._drafts[id(late)].part.size > 0
    assert len(rig.asked) == 1


@pytest.mark.parametrize("why", ["an error", "nothing finished"])
def test_a_range_that_failed_or_of_which_nothing_is_finished_has_no_part(rig, why):
    of = rig.work()
    if why == "an error":
        finish(of, 1)
        of.close(error=Failed("x"))
        assert of.whole is False
        of.whole = True
    else:
        of.close()
    assert rig.run() == (of, None, (), None)
    assert rig.asked == []
    assert not rig.writing._drafts


def test_rows_of_a_range_that_failed_are_not_written(rig):
    of = rig.work()
    of.error = Failed("x")
    finish(of, noise(50_000))
    of.close()
    rig.run()
    assert rig.asked == []


def test_a_range_without_a_row_has_an_empty_part(rig):
    of = rig.work()
    of.close(whole=True)
    closed = rig.run()
    assert (closed.done, read(closed.written)) == (OF, [])


@pytest.mark.parametrize("shared", [False, True])
def test_what_is_not_finished_is_left_as_one_range_or_in_halves(rig, shared):
    of = rig.work()
    finish(of, 1, 2)
    if shared:
        of.share()
    else:
        of.close()
    closed = rig.run()
    assert closed.done == OF.until(2, 2)
    left = OF.rest(2, 98)
    assert closed.rest == ([left.until(51, 49), left.rest(51, 49)] if shared else [left])


def test_a_range_that_ended_with_its_last_row_has_no_rest(rig):
    of = rig.work(OF.until(2, 2))
    finish(of, 1, 2)
    of.close()
    closed = rig.run()
    assert (closed.done, closed.rest) == (of.range, ())


def test_an_estimate_that_was_too_low_leaves_a_range_of_one_row(rig):
    of = rig.work(OF.until(100, 1))
    finish(of, 1, 2)
    of.close()
    assert rig.run().rest == [OF.until(100, 1).rest(2, 1)]


def test_a_part_that_is_large_enough_ends_its_range(rig, caplog):
    of = rig.work()
    second = finish(of, noise(70_000))
    first = finish(of, noise(60_000), first=1)
    with caplog.at_level(logging.INFO):
        rig.writing._add(of, first)
        assert not of.closing
        rig.writing._add(of, second)
        assert of.closing
        rig.writing._add(of, finish_in_hand(of, 2))
    assert caplog.text.count("range_cut") == 1


def finish_in_hand(of, number):
    """A row that the handler had when its range was closed."""
    of.closing = False
    slot = finish(of, b"x", first=number)
    of.closing = True
    return slot


def test_results_wait_for_the_writer_up_to_their_share(rig):
    of = rig.work()
    assert not rig.writing.full
    rig.writing.wait()
    rig.writing.put(of, finish(of, noise(20_000 - 100)))  # also counted by the range itself
    assert rig.writing.full
    rig.writing.end()
    rig.writing.wait()  # nobody waits for a writer that has ended
    of.close(whole=True)
    rig.run()
    assert not rig.writing.full


def test_a_range_that_ends_waits_without_bytes(rig):
    rig.writing.put(rig.work(), None)
    assert not rig.writing.full


def in_time(call):
    """Whether the call returns."""
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    thread.join(10)
    return not thread.is_alive()


@pytest.mark.parametrize("room", ["nothing is put", "there is room", "the agent ends", "it is put"])
def test_the_writer_waits_for_a_part_that_is_put_only_where_memory_lacks(rig, room):
    of = rig.work()
    part = Part(PartFormat.PARQUET, schemas.schema_of([{"result": b""}]))
    rows = {"nothing is put": 100_000, "there is room": 30_000}.get(room, 80_000)
    part.add_rows(["0"], [{"result": noise(rows)}], 1)
    rig.writing._drafts = {id(of): Draft(), 1: Draft()}
    rig.writing._drafts[id(of)].part = part
    put = Written(b"x" * 50_000, None, 1, [], [])
    if room != "nothing is put":
        rig.writing._committing = len(put.part)
    if room == "the agent ends":
        rig.writing.end()
    if room == "it is put":
        threading.Timer(0.01, rig.writing.committed, [put]).start()
    assert in_time(rig.writing._wait_for_commits)
