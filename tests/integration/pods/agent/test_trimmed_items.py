"""An item that is deleted or trimmed while an agent has it: its result is published, or it is reported."""

import pytest

from pods.agent.holding import Holding
from pods.agent.progress import Progress
from pods.agent.protocol import RELEASED_CONSUMER, AgentSettings
from pods.agent.reclaim import Reclaim
from pods.agent.stream import Failure, ItemResult, Stream

MUCH = 10_000_000


def settings_of(backlog, pod, **changes):
    return AgentSettings(
        redis_url=backlog.url, fleet="test", pod=pod, stream="tasks", group="workers",
        handler="m:f", **changes,
    )  # fmt: skip


@pytest.fixture
def pod(backlog):
    return Stream(settings_of(backlog, "pod-a"))


def trim(backlog):
    backlog.client.xtrim("tasks", maxlen=0, approximate=False)


def result(entry):
    return ItemResult(entry, entry.encode(), "tasks:results", b"r")


def test_the_result_of_an_item_that_was_trimmed_in_hand_is_published(backlog, pod):
    first, second = backlog.put(b"x", b"y")
    pod.read(10, MUCH)
    backlog.client.xtrim("tasks", minid=second, approximate=False)
    assert pod.keep([first, second]) == []
    done = pod.commit([result(first), result(second)])
    assert (done.done, done.duplicates, done.gone) == (2, 0, 0)
    backlog.assert_each_has_one_result([first, second])


def test_keeping_an_item_of_an_emptied_stream_does_not_lose_it(backlog, pod):
    entries = backlog.put_numbered(2)
    pod.read(10, MUCH)
    trim(backlog)
    assert pod.keep(entries) == []
    assert pod.commit([result(e) for e in entries]).done == 2


def test_ids_are_compared_as_numbers(backlog, pod):
    """9-1 is before 10-1, and 10-9 before 10-10."""
    for entry in ("9-1", "10-9", "10-10", "10-11"):
        backlog.client.xadd("tasks", {"payload": "x"}, id=entry)
    pod.read(10, MUCH)
    backlog.client.xtrim("tasks", minid="10-10", approximate=False)
    backlog.make_old("pod-a", ["10-10", "10-11"])
    pod.keep(["9-1", "10-9", "10-10", "10-11"])
    idle = {
        p["message_id"].decode(): p["time_since_delivered"]
        for p in backlog.client.xpending_range("tasks", "workers", "-", "+", 10)
    }
    assert set(idle) == {"9-1", "10-9", "10-10", "10-11"}
    assert max(idle["10-10"], idle["10-11"]) < 7_200_000


def test_another_agents_walk_does_not_take_trimmed_items_out_of_a_working_hand(backlog, pod):
    [entry] = backlog.put(b"x")
    pod.read(1, MUCH)
    trim(backlog)
    assert Stream(settings_of(backlog, "pod-b")).claim(10, MUCH, "0-0") == ([], "0-0")
    assert pod.commit([result(entry)]).done == 1


def test_an_item_that_was_gone_before_its_late_result_is_counted_as_gone(backlog, pod):
    [entry] = backlog.put(b"x")
    pod.read(1, MUCH)
    trim(backlog)
    other = Stream(settings_of(backlog, "pod-b", claim_idle_seconds=0))
    assert other.claim(10, MUCH, "0-0")[0] == []
    done = pod.commit([result(entry)])
    assert (done.done, done.duplicates, done.gone) == (0, 0, 1)
    assert backlog.results() == {}
    assert [letter[b"dead_entry"] for letter in backlog.dead()] == [entry.encode()]


def assert_one_letter_without_the_item(backlog, entry):
    [letter] = backlog.dead()
    assert letter[b"dead_entry"] == entry.encode()
    assert letter[b"dead_gone"] == b"1"
    assert b"payload" not in letter
    assert backlog.pending() == 0
    return letter


@pytest.mark.parametrize("holder", ["dead", RELEASED_CONSUMER])
def test_an_item_of_nobody_that_was_trimmed_leaves_a_letter(backlog, pod, holder):
    [entry] = backlog.put(b"x")
    backlog.client.xreadgroup("workers", holder, {"tasks": ">"})
    backlog.make_old(holder, [entry])
    trim(backlog)
    assert pod.claim(10, MUCH, "0-0")[0] == []
    letter = assert_one_letter_without_the_item(backlog, entry)
    assert letter[b"dead_pod"] == holder.encode()


def test_an_item_that_was_trimmed_during_a_restart_leaves_a_letter(backlog, pod):
    [entry] = backlog.put(b"x")
    pod.read(1, MUCH)
    trim(backlog)
    assert pod.recover(10, MUCH, "")[0] == []
    assert_one_letter_without_the_item(backlog, entry)


def test_an_item_that_fails_and_is_gone_leaves_a_letter_with_its_error(backlog, pod):
    [entry] = backlog.put(b"x")
    pod.read(1, MUCH)
    trim(backlog)
    assert pod.fail([Failure(entry, "out of memory", "trace")])[0].became == "dead"
    letter = assert_one_letter_without_the_item(backlog, entry)
    assert (letter[b"dead_error"], letter[b"dead_traceback"]) == (b"out of memory", b"trace")


def test_an_item_that_is_trimmed_between_two_tries_leaves_a_letter_with_its_last_error(backlog):
    now = 1000.0
    settings = settings_of(backlog, "pod-a")
    stream, holding, progress = Stream(settings), Holding(8, lambda: now), Progress()
    holding.tune(8, 0.001)
    reclaim = Reclaim(settings, stream, holding, progress)
    [entry] = backlog.put(b"x")
    holding.add(stream.read(1, MUCH)[0])
    [[item]] = holding.take_batches(1, 0)
    holding.worked([item])
    [settled] = stream.fail([Failure(entry, "out of memory")])
    holding.retry_later(entry, settled.deliveries, "out of memory")
    trim(backlog)
    now += 60
    reclaim.retry(500)
    letter = assert_one_letter_without_the_item(backlog, entry)
    assert letter[b"dead_error"] == b"out of memory"
    assert len(holding) == 0
    assert progress.counts().dead == 1


def test_an_agent_publishes_what_was_trimmed_while_its_handler_worked(
    backlog, agents, until, tmp_path
):
    gate = tmp_path / "gate"
    gate.touch()
    agents.start(
        backlog, "pod-a", "agent_handlers:waits_for_a_file", batch_size=10,
        claim_idle_seconds=60, env={"GATE": str(gate)},
    )  # fmt: skip
    entries = backlog.warm_up()
    gate.unlink()
    entries += backlog.put_numbered(10)
    until(lambda: backlog.pending_of("pod-a") == 10)
    trim(backlog)
    gate.touch()
    until(lambda: len(backlog.results()) == len(entries))
    backlog.assert_each_has_one_result(entries)
    until(lambda: backlog.heartbeat("pod-a").done == len(entries))
    assert backlog.dead() == []
