"""One batch at a time on its way to the handler, and back from it; and the end of an agent."""

import dataclasses
import threading

import pytest

from pods.agent import loop
from pods.agent.calling import Failed
from pods.agent.control import Intent
from pods.agent.forming import CALLS_AHEAD
from pods.agent.holding import SUSPECT_DELIVERIES
from pods.agent.patience import GivenUp
from pods.agent.stream import Entry, Stream
from tests.support.rigs.agent_steps import Agent

MUCH = 10_000_000
PATIENCE_SECONDS = 20.0


# To the handler.


def test_a_batch_goes_to_the_handler_and_without_one_the_feeder_waits(agent):
    assert agent._feed_step()
    agent.backlog.put_numbered(1)
    agent._read(1, MUCH)
    assert agent._feed_step()
    assert agent.taker.took == [[agent.in_hand]]
    assert agent._feed_step()
    assert agent.taker.took == [[agent.in_hand]]  # once
    assert agent._holding.room().items == 0  # the handler has not answered


def test_the_feeder_goes_on_until_the_handler_has_ended(agent, monkeypatch):
    submit = agent.taker.submit

    def ends(batches):
        agent.taker.room = 0
        return submit(batches)

    monkeypatch.setattr(agent.taker, "submit", ends)
    agent.is_quick()
    agent._holding.add([Entry("1-0", {})])
    agent._feed()
    assert agent.taker.took == [[["1-0"]]]


def test_the_feeder_ends_with_the_handler(agent):
    agent.taker.room = 0
    assert not agent._feed_step()
    agent._feed()  # returns


def test_a_batch_of_items_whose_results_may_go_nowhere_leaves_room_for_others(agent):
    agent.backlog.put(b"x", reply_to=b"other")
    agent._read(1, MUCH)
    assert agent._feed_step()
    assert (agent.taker.took, len(agent.backlog.dead())) == ([], 1)
    assert agent._holding.room().items == 1


@pytest.mark.parametrize("closed", ["handler", "server"])
def test_what_the_handler_did_not_take_is_in_hand_as_untried(agent, closed):
    agent.backlog.put_numbered(1)
    agent._read(1, MUCH)
    if closed == "handler":
        agent.taker.open = False
        assert not agent._feed_step()
    else:
        [entry] = agent.in_hand
        agent._holding.drop([entry])
        agent._holding.add([Entry(entry, {}, 2, 1, counted=False)])
        agent.backlog.client.set(agent.backlog.keys.fence("pod-a"), "1")
        with pytest.raises(GivenUp):
            agent._feed_step()
        agent._control.intent = Intent.WORK
        agent._feed()  # returns: it has given up
    assert agent.taker.took == []
    assert [batch[0].id for batch in agent._holding.take_batches(1, 0)] == agent.in_hand


def taken_over(agent, count):
    """Items of a dead agent, whose next try is not counted yet."""
    entries = agent.backlog.put_numbered(count)
    Stream(agent._settings).read(count, MUCH)
    agent._holding.tune(count, 0.001)
    agent._holding.add([Entry(e, {b"payload": b"x"}, 2, 1, counted=False) for e in entries])
    return entries


def deliveries(agent):
    return {p.entry: p.deliveries for p in Stream(agent._settings).pending(99)}


def test_the_try_of_an_item_of_a_dead_agent_counts_before_it_begins_and_once(agent):
    mine, lost = taken_over(agent, 2)
    agent.backlog.client.xclaim("tasks", "workers", "pod-b", 0, [lost], justid=True)
    assert agent._feed_step()
    assert agent.taker.took == [[[mine]]]
    assert (agent.in_hand, deliveries(agent)[mine]) == ([mine], 2)
    agent._holding.tune(2, 0.001)
    agent._put_back([[Entry(mine, {}, 2, 1)]])
    assert agent._feed_step()
    assert deliveries(agent)[mine] == 2


def test_a_copy_of_an_item_of_another_pod_begins_beside_items_that_were_taken_over(agent):
    [copied] = agent.backlog.put(b"x")
    Stream(dataclasses.replace(agent._settings, pod="slow")).read(1, MUCH)
    [mine] = taken_over(agent, 1)
    agent._holding.tune(2, 0.001)
    agent._holding.add([Entry(copied, {}, 1, 1)])
    assert agent._feed_step()
    assert agent.taker.took == [[[mine, copied]]]


def test_a_batch_of_which_nothing_is_left_does_not_go_to_the_handler(agent):
    [lost] = taken_over(agent, 1)
    agent.backlog.client.xclaim("tasks", "workers", "pod-b", 0, [lost], justid=True)
    assert agent._feed_step()
    assert (agent.taker.took, agent.in_hand) == ([], [])


def suspect(agent):
    """An item that may have ended its former agents waits for the handler, which has another."""
    agent.is_quick()
    agent._holding.add([Entry("1-0", {})])
    agent._holding.take_batches(1, 0)
    agent._holding.add([Entry("2-0", {}, SUSPECT_DELIVERIES, 1)])


def test_a_suspect_goes_to_the_handler_when_nothing_else_is_under_way(agent, until):
    suspect(agent)
    feeder = threading.Thread(target=agent._feed_step, daemon=True)
    feeder.start()
    until(lambda: agent.taker.waited)
    assert agent.taker.took == []
    agent._holding.drop(["1-0"])
    feeder.join(PATIENCE_SECONDS)
    assert agent.taker.took == [[["2-0"]]]


def test_at_a_stop_a_suspect_is_not_tried_any_more(agent):
    suspect(agent)
    agent._control.ask(Intent.STOP, "the manager asked")
    assert not agent._feed_step()
    assert (agent.taker.took, agent.in_hand) == ([], ["1-0", "2-0"])
    agent._feed()
    assert agent.taker.waited == 1  # no further step


def test_a_drain_ends_no_suspects_wait(agent):
    suspect(agent)
    agent._control.ask(Intent.DRAIN, "the manager asked")
    agent._holding.drop(["1-0"])
    assert agent._feed_step()
    assert agent.taker.took == [[["2-0"]]]


def test_other_items_do_not_wait_for_the_handler_to_be_empty(agent):
    agent.is_quick()
    agent._holding.add([Entry("1-0", {})])
    assert agent._feed_step()
    assert agent.taker.waited == 0


# From the handler.


def crash(agent, count):
    agent.is_quick()
    agent._holding.add([Entry(f"{n}-0", {}, 1, 1) for n in range(count)])
    [batch] = agent._holding.take_batches(1, 0) or [[]]
    agent._crashed(batch, [], "exit status 9")
    return batch


def test_after_a_crash_in_company_each_item_is_tried_alone_without_blame(agent):
    crash(agent, 2)
    assert len(agent._outbox._waiting) == 0
    assert [[e.id for e in b] for b in agent._holding.take_batches(9, 0)] == [["0-0"]]


def test_an_item_that_was_alone_in_a_crash_has_failed(agent):
    [item] = crash(agent, 1)
    with agent._outbox.taking() as (items, outcomes):
        assert (items, outcomes) == ([item], [Failed("exit status 9")])
    assert agent._progress.note == "handler: exit status 9"


def test_a_process_that_ends_without_a_batch_fails_no_item(agent):
    crash(agent, 0)
    assert len(agent._outbox._waiting) == 0
    assert agent._progress.note == "handler: exit status 9"


@pytest.mark.parametrize(
    ("preferred", "calls", "most"),
    [
        (0, 1, 64),
        (16, 1, 16),
        (1000, 1, 64),
        (0, CALLS_AHEAD, 64 * CALLS_AHEAD),
        (16, CALLS_AHEAD, 16 * CALLS_AHEAD),
    ],
)
def test_batches_are_as_large_as_the_handler_and_the_fleet_allow(agent, preferred, calls, most):
    agent.taker.preferred, agent.taker.calls_ahead = preferred, calls
    assert agent._load() == agent._sizing.most == agent._holding.largest_batch == most


# The end.


def drains(agent, happens):
    """How many steps a drain takes, while this happens at each of them."""
    agent._control.ask(Intent.DRAIN, "the manager asked")
    agent._control.happens = happens
    return agent


def test_a_drain_ends_at_once_where_nothing_will_be_worked_on(agent):
    agent.backlog.put_numbered(1)
    agent._read(1, MUCH)
    [entry] = agent.in_hand
    agent._holding.take_batches(1, 0)
    agent._holding.retry_later(entry, 1)  # another pod may try it
    drains(agent, lambda: None)._finish([])
    assert agent._control.pauses == []


def test_a_drain_waits_for_what_is_in_hand(agent):
    agent._holding.add([Entry("1-0", {})])
    drains(agent, lambda: agent._holding.drop(["1-0"]))._finish([])
    assert agent._control.pauses == [loop.DRAIN_STEP_SECONDS]


def test_a_drain_waits_for_a_read_that_is_under_way(agent):
    over = threading.Event()
    read = threading.Thread(target=lambda: over.wait(PATIENCE_SECONDS))
    read.start()
    drains(agent, lambda: (over.set(), read.join()))._finish([read])
    assert agent._control.pauses == [loop.DRAIN_STEP_SECONDS]


def test_a_stop_ends_a_drain(agent):
    agent._holding.add([Entry("1-0", {})])
    drains(agent, lambda: agent._control.ask(Intent.STOP, "asked"))._finish([])
    assert agent._control.pauses == [loop.DRAIN_STEP_SECONDS]


def test_a_drain_ends_when_its_time_is_over(backlog, agent):
    short = Agent(backlog, drain_seconds=1e-9)
    short._holding.add([Entry("1-0", {})])
    drains(short, lambda: short._holding.drop(["1-0"]))._finish([])
    assert short._control.pauses == []


@pytest.mark.parametrize(
    ("intent", "busy", "kindly"),
    [
        (Intent.DRAIN, False, True),
        (Intent.DRAIN, True, False),
        (Intent.STOP, False, True),
        (Intent.FENCED, False, False),
    ],
)
def test_the_handler_ends_kindly_only_with_nothing_to_do(agent, intent, busy, kindly):
    entries = agent.backlog.put_numbered(1)
    agent._read(1, MUCH)
    if not busy:
        agent._holding.take_batches(1, 0)
        agent._holding.retry_later(entries[0], 1)
    agent._beating._thread = threading.Thread(target=lambda: None)
    agent._beating.start()
    agent._control.ask(intent, "asked", exit_code=7)
    assert agent._end() == 7
    assert agent.taker.closed == [kindly]
    # a fenced pod touches nothing
    left = agent.backlog.pending_of("pod-a")
    assert left == (1 if intent is Intent.FENCED else 0)
