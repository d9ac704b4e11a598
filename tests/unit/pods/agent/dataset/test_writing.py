"""Writing parts with several threads: each part is whole and in order, and memory is bounded."""

import io
import threading

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pods.agent.dataset.rows import Chunk
from pods.agent.dataset.work import Slot, Work
from pods.agent.dataset.writing import WRITERS, Draft, Writing
from pods.agent.ranges import Format, Range, Source
from pods.agent.stream import Entry
from tests.support.waiting import until

WIDTH = 64
ROWS = 100  # of a slot


class Closed(list):
    """What was closed, and a way to wait for it."""

    def __init__(self):
        self.changed = threading.Condition()

    def __call__(self, closed):
        with self.changed:
            self.append(closed)
            self.changed.notify_all()

    def wait(self, count):
        with self.changed:
            assert self.changed.wait_for(lambda: len(self) >= count, 20)


@pytest.fixture
def closed():
    return Closed()


@pytest.fixture
def begin():
    """Starts the threads, which end with this process."""

    def begin(writing):
        for _ in range(WRITERS):
            threading.Thread(target=writing.run, daemon=True).start()
        return writing

    return begin


def work(writing, name):
    of = Range(Source("file:///t", "e", 10, Format.PARQUET), 0, 10_000, 10_000, f"file:///{name}")
    return Work(Entry(name, {}), of, writing.put, most_tries=1)


def finish(of, first):
    """The next slot of a range, whose rows have results."""
    ids = [f"{of.entry.id}-{n}" for n in range(first, first + ROWS)]
    rows = pa.record_batch({"id": ids})
    slot = Slot(Chunk(ids, range(first + 1, first + ROWS + 1), rows, 1, {}), 0, ROWS)
    assert of.add(slot)
    numbers = pa.array([float(first)] * WIDTH * ROWS, pa.float32())
    made = pa.table({"vector": pa.FixedSizeListArray.from_arrays(numbers, WIDTH)})
    slot.keep_table(range(ROWS), made)
    of._flush_finished()


def ids_of(found):
    return pq.read_table(io.BytesIO(found.written.part)).column("id").to_pylist()


def test_each_part_has_the_rows_of_its_range_in_order(closed, begin):
    asked = []
    writing = begin(Writing(64 * 2**20, lambda wanted: asked.append(wanted) or wanted, closed))
    works = [work(writing, name) for name in "abcde"]
    for first in range(0, 20 * ROWS, ROWS):
        for of in works:
            finish(of, first)
    for of in works:
        of.close(whole=True)
    closed.wait(len(works))
    for found in closed:
        name = found.work.entry.id
        assert ids_of(found) == [f"{name}-{n}" for n in range(20 * ROWS)]
    assert len({found.work.entry.id for found in closed}) == len(works)
    assert len(asked) == 1  # the schema is fixed once


def test_a_part_is_not_begun_beside_a_large_one_and_is_written_after_it(closed, begin):
    let = threading.Event()

    def fix(wanted):
        let.wait(20)
        return wanted

    most = ROWS * WIDTH * 4 * 8
    writing = Writing(most, fix, closed)
    large, small = work(writing, "large"), work(writing, "small")
    writing._committing = most  # another part is put
    for first in range(0, 20 * ROWS, ROWS):
        finish(large, first)
    begin(writing)
    until(lambda: bool(writing._written))
    finish(small, 0)
    small.close(whole=True)
    assert id(small) not in writing._drafts
    assert writing._next() is None  # the thread that is free waits
    begun = work(writing, "begun")
    writing._drafts[id(begun)] = Draft()
    finish(begun, 0)
    until(lambda: id(begun) in writing._written)  # a part that was begun goes on
    writing._committing = 0
    let.set()
    large.close(whole=True)
    closed.wait(2)
    assert {found.work.entry.id for found in closed} == {"large", "small"}
    assert ids_of(next(c for c in closed if c.work is small)) == [f"small-{n}" for n in range(ROWS)]


def test_a_part_is_begun_beside_an_unfinished_one_that_nobody_writes(closed, begin):
    """A row of the first range may be tried again behind the rows of the second."""
    writing = begin(Writing(ROWS * WIDTH * 4 * 8, lambda wanted: wanted, closed))
    unfinished, other = work(writing, "unfinished"), work(writing, "other")
    for first in range(0, 6 * ROWS, ROWS):
        finish(unfinished, first)
    finish(other, 0)
    other.close(whole=True)
    closed.wait(1)
    assert [found.work.entry.id for found in closed] == ["other"]


def test_a_part_waits_for_an_older_one_that_is_written_and_for_no_other(closed):
    """Two threads may not wait for each other, nor for a part whose next row is behind this one's."""
    most = ROWS * WIDTH * 4 * 8
    writing = Writing(most, lambda wanted: wanted, closed)
    older, younger = work(writing, "older"), work(writing, "younger")
    for of in (older, younger):
        draft = writing._draft(of)
        draft.part = Large(most // 3)
    writing._written = {id(older), id(younger)}
    assert writing._has_room(id(older))
    assert not writing._has_room(id(younger))
    writing._written = {id(younger)}
    assert writing._has_room(id(younger))
    finish(older, 0)  # its rows wait for a thread
    assert not writing._has_room(id(younger))


class Large:
    """A part of so many bytes."""

    def __init__(self, size):
        self.size = size
