"""No agent holds items that another agent could begin."""

from collections import Counter

import pytest

from tests.support.waiting import until


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
