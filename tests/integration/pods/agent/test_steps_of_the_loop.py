"""One step of an agent's intake at a time, on a real server and without its handler's process."""

import time

import pytest

from pods.agent import loop
from pods.agent.control import Intent
from pods.agent.stream import LARGEST_STEP, Entry, Failure, Stream
from tests.support.rigs.agent_steps import A_MOMENT

MUCH = 10_000_000
PATIENCE_SECONDS = 20.0


def seconds_of(what):
    began = time.monotonic()
    what()
    return time.monotonic() - began


def test_an_idle_agent_waits_for_the_stream_and_takes_one_item_first(agent):
    agent.began()
    entries = agent.backlog.put_numbered(3)
    agent._take_step()
    assert (agent.calls, agent.in_hand) == (["read"], entries[:1])
    assert agent._control.pauses == []


def test_what_the_former_agent_had_is_taken_before_anything_else(agent):
    entries = agent.backlog.put_numbered(2)
    Stream(agent._settings).read(2, MUCH)
    agent._take_step()
    assert (agent.calls, agent.in_hand) == (["recover"], entries[:1])


def test_what_was_given_back_is_taken_before_new_items(agent):
    agent.began()
    entries = agent.backlog.put_numbered(2)
    Stream(agent._settings).read(1, MUCH)
    Stream(agent._settings).release([(entries[0], False)])
    agent.now += 5
    agent._take_step()
    assert (agent.calls, agent.in_hand) == (["claim"], entries[:1])


def measured(agent):
    for _ in range(3):
        agent._copying.worked(0.1)


@pytest.mark.parametrize("busy", ["nothing", "an item", "everything fails"])
def test_only_an_agent_with_nothing_to_do_looks_for_items_to_copy(agent, busy):
    agent.began()
    measured(agent)
    agent.is_quick()
    if busy == "an item":
        agent._holding.add([Entry("1-0", {})])
    if busy == "everything fails":
        agent.only_fails()
    agent._take_step()
    assert agent.calls == ["read", *(["pending"] if busy == "nothing" else []), "wait"]


def test_an_agent_that_may_mark_no_items_looks_for_none(agent):
    agent.began()
    measured(agent)
    agent._copying._forbidden()
    agent._take_step()
    assert agent.calls == ["read", "wait"]


def test_an_agent_that_copied_an_item_does_not_wait_for_others(agent, monkeypatch):
    agent.began()
    monkeypatch.setattr(agent._copying, "copy", lambda: 1)
    agent._take_step()
    assert agent.calls == ["read"]


def test_while_everything_fails_one_item_is_taken_and_then_none_for_a_while(agent):
    agent.began()
    agent.is_quick()
    agent.only_fails()
    entries = agent.backlog.put_numbered(3)
    agent._take_step()
    assert (agent.calls, agent.in_hand, agent._control.pauses) == (["read"], entries[:1], [])
    agent._take_step()
    assert (agent.calls, agent._control.pauses) == ([], [A_MOMENT])


def test_without_room_nothing_is_read_and_the_next_step_comes_when_there_is_some(agent):
    agent.began()
    agent.backlog.put_numbered(3)
    agent._take_step()
    assert agent.calls == ["read"]
    assert seconds_of(agent._take_step) >= A_MOMENT
    assert (agent.calls, agent._control.pauses) == ([], [])


def test_a_step_that_brought_items_waits_for_nothing(agent, monkeypatch):
    agent.began()
    agent.backlog.put_numbered(1)
    monkeypatch.setattr(loop, "IDLE_STEP_SECONDS", PATIENCE_SECONDS)
    assert seconds_of(agent._take_step) < PATIENCE_SECONDS / 2


@pytest.mark.parametrize(("batch_seconds", "equal_part"), [(0.01, False), (2.0, True)])
def test_of_items_that_take_long_each_pod_takes_an_equal_part(agent, batch_seconds, equal_part):
    agent._sizing = agent._sizing.after(1, batch_seconds)
    agent._read(4, MUCH)
    assert agent._stream.equal_parts == [equal_part]


def wants_more(agent):
    """Its handler is quick, its link is slow, and the stream has more."""
    agent._holding.tune(64, None)
    agent.now += 0.1
    agent._holding.read_took(1.5, LARGEST_STEP)
    agent._holding.tune(64, 0.001, good=100_000)


def test_a_further_read_is_made_while_there_is_room_and_items_are_wanted(agent):
    agent._read_further()
    assert agent.calls == []  # no room
    wants_more(agent)
    agent._read_further()
    assert agent.calls == ["read"]
    wants_more(agent)
    agent.only_fails()
    agent._read_further()
    assert (agent.calls, agent._control.pauses) == ([], [A_MOMENT])
    agent._progress.add(done=1)
    agent._control.ask(Intent.DRAIN, "the manager asked")
    agent._read_further()
    assert agent.calls == []


def test_further_reads_go_on_while_the_agent_works(agent, monkeypatch):
    wants_more(agent)
    steps = []

    def read(items, max_bytes):
        steps.append(items)
        if len(steps) == 2:
            agent._control.ask(Intent.DRAIN, "the manager asked")

    monkeypatch.setattr(agent, "_read", read)
    agent._read_along()
    assert steps == [LARGEST_STEP] * 2


def test_further_reads_end_when_the_agent_takes_nothing_more(agent):
    wants_more(agent)
    agent._control.ask(Intent.DRAIN, "the manager asked")
    agent._read_along()
    assert agent.calls == []


def test_what_waited_too_long_for_the_handler_is_given_back(agent):
    agent.backlog.put_numbered(1)
    agent._read(1, MUCH)
    agent._give_back()
    assert len(agent.in_hand) == 1
    agent.now += 60
    agent._give_back()
    assert agent.in_hand == []
    assert agent.backlog.pending_of("podfleet-released") == 1


@pytest.mark.parametrize("all_fail", [False, True])
def test_failed_items_are_offered_to_other_pods_where_everything_fails_here(agent, all_fail):
    [entry] = agent.backlog.put(b"x")
    agent._read(1, MUCH)
    agent._stream.fail([Failure(entry, "boom")])
    agent._holding.take_batches(1, 0)
    agent._holding.retry_later(entry, 1, "boom")
    agent.backlog.client.xreadgroup("workers", "pod-b", {"tasks": ">"}, count=1)
    if all_fail:
        agent.only_fails()
    agent._give_back()
    assert agent.in_hand == ([] if all_fail else [entry])
