"""The size of batches follows the handler's speed, and a slow agent is not taken for dead."""

import json

import pytest

from pods.agent.protocol import AgentState

SIZES = {"handler": "agent_handlers:says_its_size", "batch_size": 32, "target_batch_seconds": 0.1}


def sizes(backlog):
    """The batch size of each item, in the order in which the items were published."""
    return [int(size) for size in backlog.results().values()]


def test_a_slow_handler_gets_batches_of_the_wanted_time(backlog, agents, until):
    entries = backlog.put_numbered(200)
    agents.start(backlog, "pod-a", env={"SECONDS_AN_ITEM": "0.01"}, **SIZES)
    until(lambda: len(sizes(backlog)) == len(entries))
    assert sizes(backlog)[0] == 1
    assert set(sizes(backlog)[-50:]) <= set(range(17))
    backlog.assert_each_has_one_result(entries)


def test_a_quick_handler_gets_full_batches(backlog, agents, until):
    entries = backlog.put_numbered(640)
    agents.start(backlog, "pod-a", env={"SECONDS_AN_ITEM": "0.001"}, **SIZES)
    until(lambda: len(sizes(backlog)) == len(entries))
    assert sizes(backlog).count(32) >= 0.8 * len(entries)


def test_a_handler_that_is_as_slow_with_few_items_gets_many(backlog, agents, until):
    entries = backlog.put_numbered(320)
    agents.start(backlog, "pod-a", env={"SECONDS_A_CALL": "0.2"}, **SIZES)
    until(lambda: len(sizes(backlog)) == len(entries))
    assert sizes(backlog).count(32) >= 0.8 * len(entries)


@pytest.mark.takes(10)
def test_a_long_batch_is_not_taken_for_that_of_a_dead_agent(backlog, agents, until):
    """It takes longer than the claim time, and another agent looks for such items."""
    entries = backlog.put_numbered(12)
    slow = {**SIZES, "batch_size": 4, "claim_idle_seconds": 0.8}
    for pod in ("pod-a", "pod-b"):
        agents.start(backlog, pod, env={"SECONDS_A_CALL": "1.5"}, **slow)
    until(lambda: len(sizes(backlog)) == len(entries))
    beats = [backlog.heartbeat(pod) for pod in ("pod-a", "pod-b")]
    assert all(beat is not None and beat.state is AgentState.WORKING for beat in beats)
    assert [beat.claimed for beat in beats] == [0, 0]
    backlog.assert_each_has_one_result(entries)


def test_sorted_calls_that_do_not_fit_into_the_memory_cost_no_try(backlog, agents, until):
    """Costs of 1 and 100 alternate. A call with both would hold 4 items, or would not fit."""
    entries = backlog.put(*[b"1", b"100"] * 200)
    agents.start(backlog, "pod-a", "agent_handlers:HasLittleMemory", batch_size=16)
    until(lambda: len(backlog.results()) == len(entries))
    said = [json.loads(result) for result in backlog.results().values()]
    assert max(call["items"] for call in said) == 16
    late = said[len(said) // 2 :]
    mixed = sum(call["longest"] != call["shortest"] for call in late)
    assert mixed < 0.2 * len(late)
    beat = backlog.heartbeat("pod-a")
    assert beat is not None
    assert [beat.failed, beat.dead] == [0, 0]
    backlog.assert_each_has_one_result(entries)
