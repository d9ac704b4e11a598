"""How a dataset's agent reads and ends ranges and itself, without a handler's process."""

import logging
import time
from typing import Any

import pytest

from pods.agent.calling import Failed
from pods.agent.control import Intent
from pods.agent.dataset import agent as agents
from pods.agent.dataset.parts import Written
from pods.agent.dataset.work import Work
from pods.agent.dataset.writing import Closed
from pods.agent.ranges import Range
from tests.support.rigs.agent_in_steps import AgentInSteps

WRITTEN = Written(b"a part", None, 3, [], [])


# Reading a range.


def shelved(rig: AgentInSteps) -> list[Any]:
    found = []
    while (read := rig.agent._shelf.take(0)) is not None:
        found.append(read.what)
    return found


def test_the_rows_of_a_range_are_read_to_their_end(rig):
    work = rig.work()
    rig.agent._read_range(work)
    [chunk, end] = shelved(rig)
    assert (chunk.ids, dict(chunk.bad), end) == (["0", "1", "2"], {}, None)
    assert (work.read_to, work.skipped) == (3, False)


@pytest.mark.parametrize("why", ["closing", "the agent ends"])
def test_no_more_rows_of_a_range_are_read_than_are_wanted(rig, why):
    work = rig.work()
    if why == "closing":
        work.close()
    else:
        rig.agent._shelf.close()
    rig.agent._read_range(work)
    assert shelved(rig) == []
    assert (work.read_to, work.skipped) == (0, True)


def test_a_file_that_is_missing_fails_its_range_for_this_pod(rig):
    work = rig.work()
    rig.sink.at("t").delete()
    rig.agent._read_range(work)
    [failed] = shelved(rig)
    assert "does not exist" in failed.error
    assert not failed.final


# The end of a range.


def ends(rig: AgentInSteps, work: Work, written: Written | None = None) -> None:
    rig.holding.add([work.entry])
    rig.agent._end_range(Closed(work, work.range if written else None, (), written))


def taken_work(rig: AgentInSteps, **fields: Any) -> Work:
    entry = rig.take(**fields)
    rig.agent._begin(entry)
    [work] = rig.hand.works()
    return work


def test_a_finished_range_is_committed_and_its_memory_is_free(rig, caplog):
    work = taken_work(rig)
    rig.agent._writing._committing = len(WRITTEN.part)
    with caplog.at_level(logging.INFO):
        ends(rig, work, WRITTEN)
    assert len(rig.backlog.results()) == 1
    assert (len(rig.holding), rig.agent._writing._committing) == (0, 0)
    assert "range_given_back" not in caplog.text
    assert "range_failed" not in caplog.text


def test_a_range_whose_sink_refuses_has_failed_a_try(rig):
    work = taken_work(rig)
    work.range = Range(**{**vars(work.range), "sink": "https://user@host/?no"})
    ends(rig, work, WRITTEN)
    assert rig.agent._progress.counts().failed == 1
    assert rig.pending() == 1
    assert rig.holding.waits(work.entry.id)


def test_a_range_of_which_nothing_is_finished_is_given_back(rig):
    work = taken_work(rig)
    ends(rig, work)
    assert (rig.pending(), rig.backlog.pending_of("podfleet-released")) == (0, 1)
    assert rig.agent._progress.counts().failed == 0


@pytest.mark.parametrize(
    ("final", "fields", "last", "is_dead"),
    [
        (True, {}, False, True),
        (False, {}, False, False),
        (False, {}, True, False),
        (False, {"divided": 1}, False, False),
        (False, {"divided": 1}, True, True),
    ],
)
def test_a_failed_range_is_tried_again_unless_that_cannot_help(rig, final, fields, last, is_dead):
    work = taken_work(rig, **fields)
    work.last, work.error = last, Failed("broken", final=final)
    ends(rig, work)
    assert len(rig.backlog.dead()) == is_dead
    assert rig.pending() == (not is_dead)


@pytest.mark.parametrize("full", [False, True])
def test_the_handler_waits_for_the_writer_only_where_results_wait(rig, full):
    waited: list[bool] = []
    rig.agent._writing._bytes = 10**9 if full else 0
    rig.agent._writing.wait = lambda: waited.append(True)
    rig.agent._wait_for_writer()
    assert waited == [True] * full


# The end of an agent.


class Thread:
    """An intake that ends after so many looks."""

    def __init__(self, looks: int = 0) -> None:
        self.looks = looks

    def is_alive(self) -> bool:
        self.looks -= 1
        return self.looks >= 0


def finish(rig: AgentInSteps, *threads: Any) -> int:
    """Let the agent finish. Returns how often it looked again."""
    rig.agent._finish(threads)
    return len(rig.control.asked)


def test_a_drain_ends_when_nothing_is_in_hand_and_nothing_is_taken(rig):
    rig.control.ask(Intent.DRAIN, "end")
    assert finish(rig) == 0
    assert finish(rig, Thread(3)) == 3


def test_a_drain_waits_for_what_is_in_hand_and_closes_it(rig):
    rig.control.ask(Intent.DRAIN, "end")
    work = rig.work()
    rig.control.meanwhile = lambda: len(rig.control.asked) == 2 and rig.hand.drop(work)
    assert finish(rig) == 2
    assert work.closing


@pytest.mark.parametrize("why", ["a stop", "the time is over"])
def test_a_drain_does_not_wait_longer_than_it_may(rig_of, why):
    rig = rig_of(drain_seconds=60.0 if why == "a stop" else 0.0)
    rig.control.ask(Intent.STOP if why == "a stop" else Intent.DRAIN, "end")
    work = rig.work()
    assert finish(rig) == 0
    assert not work.closing


@pytest.mark.parametrize(
    ("intent", "in_hand", "kindly"),
    [
        (Intent.STOP, False, True),
        (Intent.STOP, True, False),
        (Intent.FENCED, False, False),
        (Intent.FENCED, True, False),
    ],
)
def test_an_agent_abandons_what_is_in_hand_unless_it_is_fenced(
    rig, monkeypatch, intent, in_hand, kindly
):
    monkeypatch.setattr(agents, "GOODBYE_SECONDS", 0.03 if in_hand else 60.0)
    left: list[bool] = []
    monkeypatch.setattr(rig.agent, "_leave", lambda *, fenced: left.append(fenced) or 7)
    rig.control.ask(intent, "end")
    work = rig.work() if in_hand else None
    began = time.monotonic()
    assert rig.agent._end() == 7
    assert time.monotonic() - began < 30
    assert rig.handler.closed == [kindly]
    assert left == [intent is Intent.FENCED]
    assert work is None or work.closing is (intent is Intent.STOP)
    assert not rig.agent._shelf.put("anything", 1)  # type: ignore[arg-type]
