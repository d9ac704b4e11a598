"""An idle agent finishes an item that another pod has had for long, and it has one result."""

import time

import pytest

from pods.agent.copying import Copying
from pods.agent.holding import Holding
from pods.agent.progress import Progress
from pods.agent.protocol import AgentSettings
from pods.agent.reclaim import Reclaim
from pods.agent.stream import Failure, Fenced, ItemResult, Stream
from tests.support.waiting import patience, until

MUCH = 10_000_000


@pytest.fixture
def stream_of(backlog):
    def stream(pod, **changes):
        return Stream(
            AgentSettings(
                redis_url=backlog.url, fleet="test", pod=pod, stream="tasks", group="workers",
                handler="m:f", **changes,
            )
        )  # fmt: skip

    return stream


@pytest.fixture
def held(backlog, stream_of):
    """An item in the hand of the pod `slow`."""
    [entry] = backlog.put(b"x", language=b"en")
    [taken] = stream_of("slow").read(1, MUCH)[0]
    assert taken.id == entry
    return entry


def result(entry, value=b"r"):
    return ItemResult(entry, entry.encode(), "tasks:results", value)


def test_a_copy_leaves_the_item_with_its_holder_and_counts_no_delivery(backlog, stream_of, held):
    idle = stream_of("idle")
    copied = idle.copy(held, "slow")
    assert (copied.id, copied.fields) == (held, {b"payload": b"x", b"language": b"en"})
    assert copied.counted  # begin.lua would find that it is another agent's
    [pending] = idle.pending(10)
    assert (pending.entry, pending.pod, pending.deliveries) == (held, "slow", 1)


def test_an_item_is_copied_once_whoever_asks_and_however_long_it_takes(backlog, stream_of, held):
    assert stream_of("idle").copy(held, "slow")
    assert stream_of("idle").copy(held, "slow") is None
    assert stream_of("other").copy(held, "slow") is None
    mark = backlog.keys.offered(held)
    assert backlog.client.get(mark) == b"idle"
    assert 86_000 < backlog.client.ttl(mark) <= 86_400


def test_no_copy_is_made_of_what_is_not_the_first_try_of_that_holder(backlog, stream_of, held):
    idle = stream_of("idle")
    assert idle.copy(held, "another") is None
    assert idle.copy("1-1", "slow") is None
    stream_of("slow").mark([held])  # it crashed a handler
    assert idle.copy(held, "slow") is None
    [second] = backlog.put(b"y")
    slow = stream_of("slow", claim_idle_seconds=0)
    [taken] = slow.read(1, MUCH)[0]
    slow.begin([taken._replace(deliveries=2, counted=False)])
    assert idle.copy(second, "slow") is None
    slow.release([(second, False)])
    assert idle.copy(second, "podfleet-released") is None
    assert not backlog.client.exists(backlog.keys.offered(second))


@pytest.mark.parametrize("first", ["slow", "idle"])
def test_the_first_result_is_published_whoever_has_it(backlog, stream_of, held, first):
    slow, idle = stream_of("slow"), stream_of("idle")
    idle.copy(held, "slow")
    order = (slow, idle) if first == "slow" else (idle, slow)
    done = [pod.commit([result(held, b"%d" % n)]) for n, pod in enumerate(order)]
    assert [(d.done, d.duplicates) for d in done] == [(1, 0), (0, 1)]
    assert backlog.results() == {held: b"0"}
    backlog.assert_each_has_one_result([held])


@pytest.mark.parametrize("final", [False, True])
def test_a_copy_that_fails_changes_nothing(backlog, stream_of, held, final):
    slow, idle = stream_of("slow", max_deliveries=1), stream_of("idle", max_deliveries=1)
    idle.copy(held, "slow")
    assert idle.fail([Failure(held, "no", final=final)])[0].became == "lost"
    assert idle.keep([held]) == [held]
    assert idle.release([(held, True)]) == 0
    assert slow.commit([result(held)]).done == 1
    assert backlog.dead() == []


def test_the_item_of_a_dead_holder_is_claimed_as_ever_and_its_copy_may_finish_it(
    backlog, stream_of, held
):
    idle, third = stream_of("idle"), stream_of("third")
    holding = Holding(1)
    holding.add([idle.copy(held, "slow")])
    backlog.make_old("slow", [held])
    reclaim = Reclaim(idle._settings, idle, holding, Progress())
    assert reclaim.claim(1, MUCH, idle=False) == 0  # it is the owner now, and goes on with its copy
    assert (len(holding), backlog.pending_of("idle")) == (1, 1)
    backlog.make_old("idle", [held])
    [claimed] = third.claim(1, MUCH, "0-0")[0]
    assert (claimed.id, claimed.deliveries) == (held, 2)  # the first try and this one
    assert idle.commit([result(held)]).done == 1
    assert third.begin([claimed]) == [held]
    backlog.assert_each_has_one_result([held])


def test_a_fenced_pod_gets_no_copy(backlog, stream_of, held):
    backlog.client.set(backlog.keys.fence("idle"), "1")
    with pytest.raises(Fenced):
        stream_of("idle").copy(held, "slow")
    assert not backlog.client.exists(backlog.keys.offered(held))


def test_nothing_is_copied_while_another_item_waits_or_the_holder_shows_no_life(
    backlog, stream_of, held
):
    slow, idle, now = stream_of("slow"), stream_of("idle"), [1000.0]
    copying = Copying(idle._settings, idle, Holding(1), lambda: now[0])
    for _ in range(3):
        copying.worked(0.1)
    [waiting] = backlog.put(b"y")
    slow.read(1, MUCH)
    slow.release([(waiting, False)])

    def copied(*, lives=True):
        now[0] += 5
        if lives:
            slow.keep([held])
        else:
            backlog.client.xclaim("tasks", "workers", "slow", 0, [held], idle=8_000, justid=True)
        return copying.copy()

    assert [copied() for _ in range(4)] == [0] * 4  # the other item can be claimed
    slow.commit([result(waiting)])
    now[0] += 100
    assert copied(lives=False) == 1  # it has shown that it lives long after it was seen first
    assert copied() == 0


def test_an_item_in_the_hand_of_a_pod_that_has_just_died_is_not_copied(backlog, stream_of, held):
    idle, now = stream_of("idle"), [1000.0]
    copying = Copying(idle._settings, idle, Holding(1), lambda: now[0])
    for _ in range(3):
        copying.worked(0.1)
    for second in range(1, 60, 5):
        now[0] += 5
        backlog.client.xclaim(
            "tasks", "workers", "slow", 0, [held], idle=second * 1000, justid=True
        )
        assert copying.copy() == 0


def test_a_user_that_an_older_manager_made_copies_nothing_and_breaks_nothing(
    backlog, stream_of, held
):
    backlog.client.execute_command(
        "ACL", "SETUSER", "idle", "on", ">pw", "+@all", "~tasks", "~tasks:*", "~podfleet:test:pod:*"
    )
    idle = stream_of("idle")
    idle._client.connection_pool.connection_kwargs.update(username="idle", password="pw")
    now = [1000.0]
    copying = Copying(idle._settings, idle, Holding(1), lambda: now[0])
    for _ in range(3):
        copying.worked(0.1)
    copying.suspect(["1-1"])
    copying.mark_suspects()
    for _ in range(10):
        assert copying.copy() == 0
        now[0] += 5
        stream_of("slow").keep([held])
    backlog.client.execute_command("ACL", "DELUSER", "idle")


class Stuck:
    """Two pods that wait at gates of their own: pod-a over an item, pod-b over its copy."""

    def __init__(self, backlog, agents, folder):
        self.backlog, self.agents = backlog, agents
        self.gates = {pod: folder / pod for pod in ("pod-a", "pod-b")}
        self.entries = [self.item] = backlog.put(b"gate")
        self.holder = self._start("pod-a")  # it begins with one item
        until(lambda: backlog.pending_of("pod-a") == 1)

    def _start(self, pod):
        return self.agents.start(
            self.backlog, pod, "agent_handlers:waits_at_a_gate",
            env={"GATE": str(self.gates[pod])}, claim_idle_seconds=8,
        )  # fmt: skip

    def begin_copy(self):
        self._start("pod-b")
        self.entries += self.backlog.warm_up()
        # While the items of the warm-up are in flight, the copy is not.
        until(lambda: self.backlog.client.get(self.backlog.keys.offered(self.item)) == b"pod-b")
        until(lambda: self.said("pod-b").in_flight == 1)
        assert self.backlog.pending_of("pod-a") == 1

    def open(self, *pods):
        for pod in pods:
            self.gates[pod].touch()

    def said(self, pod):
        return self.backlog.heartbeat(pod)

    def finisher(self):
        until(lambda: self.item in self.backlog.results())
        results = self.backlog.client.xrange("tasks:results")
        return next(f[b"pod"].decode() for _, f in results if f[b"entry"].decode() == self.item)

    def assert_done(self, *, duplicates=frozenset({1})):
        until(lambda: all(self.said(pod).in_flight == 0 for pod in self.gates))
        self.backlog.assert_each_has_one_result(self.entries)
        assert self.backlog.dead() == []
        assert sum(self.said(pod).duplicates for pod in self.gates) in duplicates


@pytest.fixture
def stuck(backlog, agents, tmp_path):
    return Stuck(backlog, agents, tmp_path)


@pytest.mark.takes(10)
def test_an_idle_agent_finishes_what_hangs_in_another_pod(stuck):
    stuck.open("pod-b")
    stuck._start("pod-b")
    stuck.entries += stuck.backlog.warm_up()
    since = time.monotonic()
    assert stuck.finisher() == "pod-b"
    # it is overdue after 3 s, its pod shows that it lives every 2 s, and it is looked at each second
    assert time.monotonic() - since < patience(3 + 2 + 2 * 1 + 2)
    stuck.open("pod-a")
    stuck.assert_done()


@pytest.mark.takes(10)
@pytest.mark.parametrize("order", [["pod-a"], ["pod-a", "pod-b"]])
def test_holder_and_copy_have_one_result_in_any_order(stuck, order):
    stuck.begin_copy()
    stuck.open(*order)
    assert stuck.finisher() in order
    stuck.open("pod-a", "pod-b")
    stuck.assert_done()


@pytest.mark.takes(10)
def test_a_copy_outlives_its_holder(stuck):
    stuck.begin_copy()
    stuck.agents.kill(stuck.holder)
    stuck.open("pod-b")
    assert stuck.finisher() == "pod-b"
    until(lambda: stuck.said("pod-b").in_flight == 0)
    stuck.backlog.assert_each_has_one_result(stuck.entries)
    assert stuck.backlog.dead() == []


@pytest.mark.takes(12)
def test_a_copy_outlives_a_restart_of_redis(own_server, backlog_on, agents, tmp_path):
    stuck = Stuck(backlog_on(own_server.url), agents, tmp_path)
    stuck.begin_copy()
    own_server.kill()
    own_server.start()
    stuck.open("pod-a", "pod-b")
    stuck.finisher()
    # whoever has to repeat its commit takes the other one's result for its own
    stuck.assert_done(duplicates={0, 1})


def test_the_items_of_a_handler_that_crashed_are_not_copied(backlog, agents):
    [entry] = backlog.put(b"poison")
    agents.start(backlog, "pod-a", "agent_handlers:crashes_on_poison")
    until(lambda: backlog.client.exists(backlog.keys.offered(entry)), seconds=15)
