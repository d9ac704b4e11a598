"""The handler's process is killed while it leaves answers in the ring, and the agent goes on."""

import os
import signal

import pyarrow as pa
import pytest

from config.env import ROOT
from pods.agent.dataset.columns import ROWS, packed_batch, unpacked_answer
from pods.agent.handler_process import HandlerProcess
from pods.agent.protocol import DATASET
from pods.agent.stream import Entry
from tests.support.agents.ring_marks import LENGTH, SENT, WRITING, WRITTEN
from tests.support.rigs.agent_rig import HANDLERS
from tests.support.rigs.dataset_rig import texts
from tests.support.waiting import until

ROWS_OF_A_BATCH = 16
RING_BYTES = 1024 * 1024  # of some ten answers, so that it goes around
BATCHES = 30


def batch(number):
    rows = pa.RecordBatch.from_arrays([pa.array([number] * ROWS_OF_A_BATCH)], names=["n"])
    return [Entry(str(number), {ROWS: packed_batch(rows)})]


def number_of(items):
    return int(items[0].id)


def content(answer):
    """The rows of an answer as they lie in the ring; the copy is compared with the whole of them."""
    return unpacked_answer(answer).good.column("result").to_pylist()


def expected(number):
    return [bytes([number]) * LENGTH] * ROWS_OF_A_BATCH


class Rig:
    """The agent's side, which keeps what it was told, and gives untouched batches again."""

    def __init__(self):
        self.worked, self.crashed, self.starts, self.given = [], [], 0, 0
        self.on_answer = lambda number, outcome: None
        self.waiting = []
        self.process = HandlerProcess(
            "ring_handlers:marks", timeout_seconds=60, kind=DATASET, ring_bytes=RING_BYTES,
            on_worked=self._worked, on_crashed=self._crashed, on_broken=lambda why: None,
            on_restarted=self._restarted,
        )  # fmt: skip

    def _worked(self, items, outcomes, batches, seconds):
        for item, outcome in zip(items, outcomes, strict=True):
            assert isinstance(outcome, memoryview)  # it lies in the ring
            self.on_answer(number_of([item]), outcome)
            self.worked.append((number_of([item]), content(outcome)))

    def _crashed(self, culprit, untouched, why):
        self.crashed.append((number_of(culprit) if culprit else None, why))
        self.waiting += untouched

    def _restarted(self):
        self.starts += 1

    def work(self, numbers):
        """Send these batches, and those again that a crash left untouched, until all have ended."""
        self.given += len(numbers)
        self.waiting += [batch(number) for number in numbers]
        until(self._sent_all)

    def _sent_all(self):
        load, self.waiting = self.waiting[:3], self.waiting[3:]
        if load:
            assert self.process.submit(load)
            self.process.wait_until_empty()
        return len(self.worked) + sum(n is not None for n, _ in self.crashed) == self.given

    def assert_right(self, numbers):
        assert sorted(number for number, _ in self.worked) == sorted(numbers)
        for number, rows in self.worked:
            assert rows == expected(number)


@pytest.fixture
def rig(monkeypatch):
    monkeypatch.setenv("PYTHONPATH", f"{ROOT}:{HANDLERS}")
    made = Rig()
    made.process.load()
    yield made
    made.process.close(kindly=False)


@pytest.mark.parametrize("place", [WRITING, WRITTEN])
def test_a_kill_at_the_writing_costs_that_batch_one_try_and_no_other(rig, place):
    good = [*range(BATCHES)]
    rig.work([*good[:10], place, *good[10:]])
    assert rig.crashed == [(place, "the handler's process ended with signal 9")]
    assert rig.starts == 1
    rig.assert_right(good)


def test_a_batch_whose_answer_was_sent_before_the_kill_counts_as_done(rig):
    rig.work([1, 2])
    rig.work([SENT])
    until(lambda: rig.starts)
    rig.work([3])
    assert rig.crashed == [(None, "the handler's process ended with signal 9")]
    rig.assert_right([1, 2, SENT, 3])


def test_what_the_agent_reads_stays_when_the_process_and_its_ring_have_gone(rig):
    held = []

    def kill(number, outcome):
        if number == 5:
            held.append(outcome)
            os.kill(rig.process._child.pid, signal.SIGKILL)
            rig.process._child.wait()

    rig.on_answer = kill
    rig.work([4, 5])
    until(lambda: rig.starts)
    rig.work([*range(100, 100 + BATCHES)])  # the ring of the next process goes around
    assert content(held[0]) == expected(5)
    assert len(rig.crashed) == 1
    rig.assert_right([4, 5, *range(100, 100 + BATCHES)])


def test_an_agent_goes_on_and_its_parts_have_each_row_once(dataset, tmp_path):
    made = texts(3000)
    dataset.feed(dataset.texts(made))
    mark = tmp_path / "died"
    dataset.agents.start(
        dataset.backlog, "pod-a", "ring_handlers:dies_once", env={"DIED": str(mark)}, kind=DATASET
    )
    dataset.until_drained(1)
    assert mark.exists()
    ids = [f"t.parquet-{n}" for n in range(3000)]
    dataset.assert_each_row_once(ids)
    assert dataset.results() == {n: t * 100 for n, t in zip(ids, made, strict=True)}
    assert not dataset.errors()
