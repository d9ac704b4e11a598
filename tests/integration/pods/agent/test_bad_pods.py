"""A pod that fails everything buries no good item, and takes no more than a trickle."""

import re

import pytest

from pods.agent.holding import Holding
from pods.agent.progress import Progress
from pods.agent.protocol import MOST_FAILING, RELEASED_CONSUMER, AgentSettings
from pods.agent.reclaim import Reclaim
from pods.agent.stream import Failure, Stream
from tests.support.waiting import until

MUCH = 10_000_000


def settings_of(backlog, pod, **changes):
    return AgentSettings(
        redis_url=backlog.url,
        fleet="test",
        pod=pod,
        stream="tasks",
        group="workers",
        handler="m:f",
        **changes,
    )


def stream_of(backlog, pod, **changes):
    return Stream(settings_of(backlog, pod, **changes))


def idle_of(backlog, entry, idle_ms):
    """Make the entry look as if nobody had touched it for so long."""
    backlog.client.xclaim("tasks", "workers", "pod-a", 0, [entry], idle=idle_ms, justid=True)


@pytest.fixture
def left(backlog):
    """An item that pod-a failed and left to others, of which there is one."""
    [entry] = backlog.put(b"x")
    bad, other = stream_of(backlog, "pod-a"), stream_of(backlog, "pod-b")
    bad.read(1, MUCH)
    other.read(1, MUCH)
    assert bad.fail([Failure(entry, "no GPU")])[0].became == "left"
    return entry


def test_a_failed_item_is_left_to_another_pod_which_finds_it_at_once(backlog, left):
    [taken], _ = stream_of(backlog, "pod-b").claim(10, MUCH, "0-0")
    assert (taken.id, taken.deliveries) == (left, 2)


def test_the_pod_that_failed_it_takes_it_again_only_if_nobody_else_does(backlog, left):
    bad = stream_of(backlog, "pod-a")
    idle_of(backlog, left, 60_000 + 50_000)
    assert bad.claim(10, MUCH, "0-0")[0] == []
    idle_of(backlog, left, 60_000 + 60_001)
    assert [e.id for e in bad.claim(10, MUCH, "0-0")[0]] == [left]


def test_the_last_try_is_not_the_pods_that_failed_all_others(backlog, left):
    bad = stream_of(backlog, "pod-a", max_deliveries=2)
    idle_of(backlog, left, 60_000 + 590_000)
    assert bad.claim(10, MUCH, "0-0")[0] == []
    idle_of(backlog, left, 60_000 + 600_001)
    assert [e.id for e in bad.claim(10, MUCH, "0-0")[0]] == [left]


@pytest.mark.parametrize("others", [[], [RELEASED_CONSUMER]])
def test_without_another_pod_the_item_is_tried_again_here(backlog, others):
    [entry] = backlog.put(b"x")
    bad = stream_of(backlog, "pod-a")
    bad.read(1, MUCH)
    for name in others:
        backlog.client.xreadgroup("workers", name, {"tasks": ">"})
    assert bad.fail([Failure(entry, "no GPU")])[0].became == "retry"


def test_an_item_that_no_try_can_help_is_not_left_to_others(backlog):
    [entry] = backlog.put(b"x")
    bad, other = stream_of(backlog, "pod-a"), stream_of(backlog, "pod-b")
    bad.read(1, MUCH)
    other.read(1, MUCH)
    assert bad.fail([Failure(entry, "no field", final=True)])[0].became == "dead"


@pytest.mark.parametrize("how", ["offer", "retry"])
def test_an_item_that_failed_before_another_pod_came_is_left_to_that_pod(backlog, how):
    """Whoever gives it back without that takes it again, as its last try."""
    [entry] = backlog.put(b"x")
    now = [1000.0]
    bad, other = stream_of(backlog, "pod-a"), stream_of(backlog, "pod-b")
    holding = Holding(8, lambda: now[0])
    holding.tune(8, 0.001)
    reclaim = Reclaim(settings_of(backlog, "pod-a"), bad, holding, Progress(), lambda: now[0])
    holding.add(bad.read(1, MUCH)[0])
    [[item]] = holding.take_batches(1, 0)
    holding.worked([item])
    [settled] = bad.fail([Failure(entry, "no GPU")])
    holding.retry_later(entry, settled.deliveries, "no GPU")
    reclaim.offer()
    assert holding.waits(entry)  # the other pod comes later
    other.read(1, MUCH)
    now[0] += 60
    if how == "offer":
        reclaim.offer()
    else:
        assert reclaim.retry(10) == 0
    assert len(holding) == 0
    assert [e.id for e in other.claim(10, MUCH, "0-0")[0]] == [entry]
    assert backlog.dead() == []


@pytest.mark.takes(15)
@pytest.mark.parametrize("max_deliveries", [2, 5])
def test_a_pod_without_its_gpu_buries_no_good_item(backlog, agents, max_deliveries):
    alike = {"batch_size": 16, "claim_idle_seconds": 2, "max_deliveries": max_deliveries}
    for pod, gpu in (("pod-bad", "lost"), ("pod-good", "there")):
        agents.start(backlog, pod, "agent_handlers:needs_a_gpu", env={"GPU": gpu}, **alike)
    until(lambda: all(backlog.heartbeat(pod) for pod in ("pod-bad", "pod-good")))
    entries = backlog.put_numbered(400)
    until(lambda: len(backlog.results()) == 400)
    backlog.assert_each_has_one_result(entries)
    assert backlog.dead() == []
    beat = backlog.heartbeat("pod-bad")
    assert beat.done == 0
    # what it had in hand when it noticed, and one item in five seconds after that
    assert beat.failed <= MOST_FAILING + 6 * 16 + beat.uptime_ms / 5000 + 1


@pytest.mark.takes(15)
def test_an_agent_works_on_when_the_fault_is_over(backlog, agents, tmp_path):
    """Until then few tries are lost: the backlog does not go to the dead letters."""
    gate = tmp_path / "gate"
    entries = backlog.put_numbered(300)
    agents.start(
        backlog, "pod-a", "agent_handlers:needs_a_service", env={"GATE": str(gate)},
        max_deliveries=5, batch_size=16,
    )  # fmt: skip
    until(lambda: getattr(backlog.heartbeat("pod-a"), "failing", 0) >= MOST_FAILING)
    assert "items failed" in backlog.heartbeat("pod-a").note
    gate.touch()
    until(lambda: len(backlog.results()) == 300)
    backlog.assert_each_has_one_result(entries)
    assert backlog.dead() == []
    until(lambda: backlog.heartbeat("pod-a").failing == 0)


def test_the_only_pod_of_a_fleet_that_fails_everything_buries_next_to_nothing(backlog, agents):
    backlog.put_numbered(2000)
    agents.start(backlog, "pod-a", "agent_handlers:needs_a_gpu", env={"GPU": "lost"})

    def braked():
        said = backlog.heartbeat("pod-a")
        return said is not None and said.failing >= MOST_FAILING and said

    said = until(braked) or braked()
    assert "items failed: RuntimeError: no CUDA-capable device is detected" in said.note
    assert len(backlog.dead()) <= 64
    assert backlog.client.xlen("tasks") == 2000


@pytest.mark.parametrize(
    ("item", "error"),
    [
        ({}, "the item has no field language"),
        ({"reply_to": b"elsewhere"}, "reply_to 'elsewhere' is not allowed"),
        ({"reply_to": b"tasks:results:odd"}, "result stream tasks:results:odd is a string"),
    ],
)
def test_items_that_all_fail_for_good_do_not_empty_the_backlog_into_the_dead_letters(
    backlog, agents, item, error
):
    backlog.client.set("tasks:results:odd", "a string")
    handler = "needs_a_field" if not item else "upper"
    [good] = backlog.put(b"x", language=b"en")
    backlog.put(*[b"x"] * 2000, **item)
    agents.start(backlog, "pod-a", f"agent_handlers:{handler}")

    def braked():
        said = backlog.heartbeat("pod-a")
        return said is not None and said.final >= MOST_FAILING and said

    said = until(braked) or braked()
    assert (said.failing, said.done) == (0, 1)
    # the note is written after the count was taken, and items fail at the same time
    counted = re.search(r"the last (\d+) items failed, (\d+) of them for good: ", said.note)
    assert counted, said.note
    assert said.final <= int(counted[2]) == int(counted[1])
    assert error in said.note
    # in a row, and one of each step that was on its way
    assert MOST_FAILING <= len(backlog.dead()) <= MOST_FAILING + 24
    assert set(backlog.results()) == {good}
