"""No agent holds items that another agent could begin."""

from collections import Counter

import pytest

from pods.agent.protocol import AgentSettings
from pods.agent.stream import Stream
from tests.support.waiting import until


def stream_of(backlog, pod):
    return Stream(
        AgentSettings(
            redis_url=backlog.url, fleet="test", pod=pod, stream="tasks", group="workers", handler="m:f"
        )
    )  # fmt: skip


def works(backlog, pod):
    beat = backlog.heartbeat(pod)
    return beat is not None and beat.state.value == "working"


@pytest.mark.takes(12)
def test_a_small_backlog_of_long_items_is_spread_over_the_pods_that_are_there(backlog, agents):
    pods = [f"pod-{n}" for n in range(3)]
    for pod in pods:
        agents.start(
            backlog, pod, "agent_handlers:says_its_pod", env={"SECONDS_AN_ITEM": "0.4"},
            batch_size=64,
        )  # fmt: skip
    until(lambda: all(works(backlog, pod) for pod in pods))
    entries = backlog.put_numbered(30)
    until(lambda: len(backlog.results()) == 30)
    backlog.assert_each_has_one_result(entries)
    shares = Counter(backlog.results().values())
    # 10 each, if this machine is not busy with other things
    assert min(shares[pod.encode()] for pod in pods) >= 5


def test_what_waits_behind_a_hanging_item_is_given_back_to_other_pods(backlog, agents, tmp_path):
    gate = tmp_path / "gate"
    alike = {"batch_size": 1, "claim_idle_seconds": 600, "env": {"GATE": str(gate)}}
    agents.start(backlog, "pod-a", "agent_handlers:waits_at_a_gate", **alike)
    warm = backlog.put_numbered(200)  # it learns that its items are quick
    until(lambda: len(backlog.results()) == len(warm))
    stuck = backlog.put(b"gate", *[b"item %d" % n for n in range(40)])
    until(lambda: backlog.pending_of("pod-a") > 1)
    agents.start(backlog, "pod-b", "agent_handlers:waits_at_a_gate", **alike)
    # what is in its handler's process already cannot be given back: two loads at most
    until(lambda: len(backlog.results()) >= len(warm) + 40 - 2 * 4)
    assert stuck[0] not in backlog.results()
    until(lambda: backlog.heartbeat("pod-b").claimed > 0)
    gate.touch()
    until(lambda: len(backlog.results()) == len(warm) + len(stuck))
    backlog.assert_each_has_one_result([*warm, *stuck])
    assert backlog.dead() == []


def test_a_read_takes_no_more_than_an_equal_part_of_what_is_left(backlog):
    streams = [stream_of(backlog, f"pod-{n}") for n in range(4)]
    for stream in streams:
        stream.read(1, 1000)  # from now on the group has four consumers
    backlog.put_numbered(41)
    took = [len(stream.read(64, 100_000, equal_part=True)[0]) for stream in streams]
    assert took == [11, 11, 11, 8]
    backlog.put_numbered(1000)
    assert len(streams[0].read(64, 100_000, equal_part=True)[0]) == 64
    assert len(streams[1].read(900, 1_000_000)[0]) == 900
    backlog.client.xdel("tasks", streams[0].read(1, 100)[0][0].id)
    backlog.put(b"x")
    assert len(streams[0].read(1, 100, equal_part=True)[0]) == 1


@pytest.mark.takes(12)
def test_the_last_batch_of_a_backlog_is_shared_where_batches_take_long(backlog, agents):
    pods = [f"pod-{n}" for n in range(3)]
    env = {"SECONDS_A_CALL": "0.3", "SECONDS_AN_ITEM": "0.01"}
    for pod in pods:
        agents.start(backlog, pod, "agent_handlers:says_its_size", env=env, batch_size=64)
    warm = backlog.put_numbered(600)
    until(lambda: len(backlog.results()) == len(warm))
    until(lambda: all(backlog.heartbeat(pod).in_flight == 0 for pod in pods))
    backlog.put_numbered(48)
    until(lambda: len(backlog.results()) == 648)
    sizes = [int(r[b"result"]) for _, r in backlog.client.xrange("tasks:results")][-48:]
    assert max(sizes) <= 16
