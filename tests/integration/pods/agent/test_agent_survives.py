"""Faults around an agent and in its handler: no item is lost, and no other agent is harmed."""

import contextlib
import os
import signal

import pytest
import redis

from tests.support.waiting import patience


def working(backlog, pod):
    beat = backlog.heartbeat(pod)
    return beat is not None and beat.state.value == "working"


@pytest.mark.fault(62)
def test_the_items_of_a_killed_agent_are_claimed_and_none_is_lost(backlog, agents, until):
    entries = backlog.put_numbered(300)
    pace = {"handler": "pods.agent.handlers.pace:sleep", "claim_idle_seconds": 1.5, "batch_size": 5}
    agents.start(backlog, "pod-a", env={"PACE_RATE": "60"}, **pace)
    victim = agents.start(backlog, "pod-b", env={"PACE_RATE": "60"}, **pace)
    until(lambda: backlog.pending_of("pod-b") and len(backlog.results()) > 20)
    agents.kill(victim)
    held = backlog.pending_of("pod-b")
    until(lambda: len(backlog.results()) == len(entries))
    backlog.assert_each_has_one_result(entries)
    until(lambda: backlog.heartbeat("pod-a").claimed >= held > 0)


@pytest.mark.fault(32)
def test_an_agent_restarted_under_its_name_takes_its_own_items_first(backlog, agents, until):
    entries = backlog.put_numbered(50)
    first = agents.start(backlog, "pod-a", "agent_handlers:takes_its_time", batch_size=8)
    backlog.put(b"3600")
    until(lambda: backlog.pending_of("pod-a") >= 8)
    agents.kill(first)
    agents.start(backlog, "pod-a", claim_idle_seconds=600)
    until(lambda: len(backlog.results()) == 51)
    assert set(entries) <= set(backlog.results())
    assert backlog.heartbeat("pod-a").claimed == 0


@pytest.mark.fault(59)
def test_the_work_of_a_healthy_agent_is_never_claimed_however_long_it_takes(
    backlog, agents, until, tmp_path
):
    [entry] = backlog.put(b"x")
    gate = tmp_path / "gate"
    agents.start(
        backlog,
        "pod-a",
        "agent_handlers:waits_for_a_file",
        claim_idle_seconds=1,
        heartbeat_seconds=0.3,
        env={"GATE": str(gate)},
    )
    until(lambda: backlog.pending_of("pod-a") == 1)
    agents.start(backlog, "pod-b", claim_idle_seconds=1, heartbeat_seconds=0.3)
    # By then it has looked more than once for items of the dead agent.
    until(lambda: getattr(backlog.heartbeat("pod-b"), "uptime_ms", 0) > 4000)
    [held] = backlog.client.xpending_range("tasks", "workers", "-", "+", 10)
    assert (held["consumer"], held["times_delivered"]) == (b"pod-a", 1)  # nor by itself
    gate.touch()
    until(backlog.results)
    backlog.assert_each_has_one_result([entry])
    assert backlog.heartbeat("pod-b").claimed == 0
    assert backlog.heartbeat("pod-a").duplicates == 0


@pytest.mark.fault(57)
def test_a_poison_item_dies_after_its_deliveries_and_harms_no_other(backlog, agents, until):
    good = backlog.put_numbered(40)
    [bad] = backlog.put(b"poison", id=b"bad-1")
    good += backlog.put_numbered(40)
    agents.start(backlog, "pod-a", "agent_handlers:refuses_poison", max_deliveries=3)
    [letter] = until(backlog.dead)
    until(lambda: len(backlog.results()) == 80)
    backlog.assert_each_has_one_result(good)
    assert letter[b"id"] == b"bad-1"
    assert letter[b"dead_entry"] == bad.encode()
    assert letter[b"dead_error"] == b"ValueError: a poison item"
    assert b"refuses_poison" in letter[b"dead_traceback"]
    assert letter[b"dead_deliveries"] == b"3"
    assert letter[b"dead_pod"] == b"pod-a"
    until(lambda: backlog.heartbeat("pod-a").dead == 1)
    assert backlog.heartbeat("pod-a").failed == 3


@pytest.mark.fault(33)
def test_a_handler_that_crashes_its_process_takes_nothing_with_it(backlog, agents, until):
    good = backlog.put_numbered(10)
    backlog.put(b"poison")
    good += backlog.put_numbered(10)
    agent = agents.start(backlog, "pod-a", "agent_handlers:crashes_on_poison", max_deliveries=2)
    [letter] = until(backlog.dead)
    until(lambda: len(backlog.results()) == 20)
    backlog.assert_each_has_one_result(good)
    assert b"signal 11" in letter[b"dead_error"]
    assert agent.poll() is None
    until(lambda: working(backlog, "pod-a"))


def test_a_crash_is_noticed_although_a_fork_of_the_process_lives_on(backlog, agents, until):
    entries = backlog.put(b"good", b"poison")
    agents.start(
        backlog, "pod-a", "agent_handlers:crashes_on_poison_but_for_its_fork", batch_size=1,
        max_deliveries=1,
    )  # fmt: skip
    until(lambda: len(backlog.dead()) == 1)
    assert set(backlog.results()) == {entries[0]}


def test_a_crash_among_many_quick_batches_counts_against_the_batch_that_caused_it(
    backlog, agents, until
):
    """With a single delivery, an item that is blamed is dead, also a neighbour that is reported late."""
    poison = [b"poison" if n % 150 == 149 else b"item %d" % n for n in range(600)]
    entries = backlog.put(*poison)
    agents.start(
        backlog, "pod-a", "agent_handlers:crashes_on_poison", batch_size=1, max_deliveries=1
    )
    until(lambda: len(backlog.results()) + len(backlog.dead()) == len(entries))
    assert {d[b"payload"] for d in backlog.dead()} == {b"poison"}
    until(lambda: not backlog.pending())
    assert len(backlog.results()) == len(entries) - 4


def test_a_handler_that_hangs_is_cut_off(backlog, agents, until):
    good = backlog.put_numbered(5)
    backlog.put(b"poison")
    agents.start(
        backlog,
        "pod-a",
        "agent_handlers:hangs_on_poison",
        max_deliveries=2,
        handler_timeout_seconds=1,
    )
    [letter] = until(backlog.dead)
    until(lambda: len(backlog.results()) == 5)
    backlog.assert_each_has_one_result(good)
    assert b"longer than 1 s" in letter[b"dead_error"]


def test_an_item_whose_agents_all_died_goes_to_the_dead_letters(backlog, agents, until):
    [entry] = backlog.put(b"text")
    client = backlog.client
    client.xreadgroup("workers", "ghost", {"tasks": ">"})
    client.execute_command("XCLAIM", "tasks", "workers", "ghost", 0, entry, "RETRYCOUNT", 5)
    agents.start(backlog, "pod-a", claim_idle_seconds=0.2, max_deliveries=5)
    [letter] = until(backlog.dead)
    assert b"no agent reported back" in letter[b"dead_error"]
    assert backlog.pending() == 0


@pytest.mark.fault(67)
def test_a_fenced_agent_publishes_nothing_and_ends(backlog, agents, until, tmp_path):
    backlog.put_numbered(20)
    gate = tmp_path / "gate"
    agent = agents.start(
        backlog,
        "pod-a",
        "agent_handlers:waits_for_a_file",
        batch_size=5,
        heartbeat_seconds=5,
        env={"GATE": str(gate)},
    )
    until(lambda: backlog.pending_of("pod-a") >= 1)
    os.killpg(agent.pid, signal.SIGSTOP)
    before = backlog.client.xinfo_groups("tasks")[0]
    backlog.client.set(backlog.keys.fence("pod-a"), "1")
    gate.touch()
    os.killpg(agent.pid, signal.SIGCONT)
    assert agent.wait(timeout=patience(30)) == 4
    assert backlog.results() == {}
    after = backlog.client.xinfo_groups("tasks")[0]
    assert (after["pending"], after["last-delivered-id"]) == (
        before["pending"],
        before["last-delivered-id"],
    )


def test_the_late_commit_of_a_frozen_agent_publishes_nothing_twice(
    backlog, agents, until, tmp_path
):
    gate = tmp_path / "gate"
    gate.touch()
    frozen = agents.start(
        backlog, "pod-a", "agent_handlers:waits_for_a_file", env={"GATE": str(gate)}
    )
    entries = backlog.warm_up()
    gate.unlink()
    entries += backlog.put_numbered(10)
    until(lambda: backlog.pending_of("pod-a") == 10)
    os.killpg(frozen.pid, signal.SIGSTOP)
    agents.start(backlog, "pod-b", claim_idle_seconds=1)
    until(lambda: len(backlog.results()) == len(entries))
    gate.touch()
    os.killpg(frozen.pid, signal.SIGCONT)
    until(lambda: backlog.heartbeat("pod-a").duplicates == 10)
    backlog.assert_each_has_one_result(entries)


@pytest.mark.fault(56)
def test_without_a_manager_an_agent_drains_and_ends(backlog, agents, until):
    agent = agents.start(backlog, "pod-a", orphan_seconds=2, heartbeat_seconds=0.2)
    until(lambda: working(backlog, "pod-a"))
    assert agent.wait(timeout=patience(30)) == 5
    assert backlog.heartbeat("pod-a").state.value == "drained"


def test_a_living_manager_keeps_an_agent_alive(backlog, agents, until):
    agent = agents.start(backlog, "pod-a", orphan_seconds=1.5, heartbeat_seconds=0.2)

    def lived_twice_as_long():
        backlog.client.incr(backlog.keys.lease)
        beat = backlog.heartbeat("pod-a")
        return beat is not None and beat.uptime_ms > 3500

    until(lived_twice_as_long)
    assert agent.poll() is None


@pytest.mark.fault(45)
def test_a_redis_that_dies_and_comes_back_loses_nothing(own_server, backlog_on, agents, until):
    backlog = backlog_on(own_server.url)
    entries = backlog.put_numbered(300)
    agent = agents.start(
        backlog, "pod-a", "pods.agent.handlers.pace:sleep", env={"PACE_RATE": "100"}
    )
    until(backlog.results)
    own_server.kill()
    own_server.start()
    until(lambda: len(backlog.results()) == len(entries))
    backlog.assert_each_has_one_result(entries)
    assert agent.poll() is None
    until(lambda: working(backlog, "pod-a") and backlog.heartbeat("pod-a").note == "")


@pytest.mark.takes(8)
def test_an_agent_whose_redis_is_gone_ends_after_the_orphan_time(
    own_server, backlog_on, agents, until
):
    backlog = backlog_on(own_server.url)
    agent = agents.start(backlog, "pod-a", orphan_seconds=2, drain_seconds=1)
    until(lambda: working(backlog, "pod-a"))
    own_server.kill()
    assert agent.wait(timeout=patience(40)) == 5


@pytest.mark.fault(47)
def test_a_missing_group_is_waited_for_and_reported(redis_url, backlog_on, agents, until):
    backlog = backlog_on(redis_url, group=False)
    agent = agents.start(backlog, "pod-a")
    until(lambda: working(backlog, "pod-a") and "NOGROUP" in backlog.heartbeat("pod-a").note)
    assert agent.poll() is None
    entries = backlog.put_numbered(3)
    backlog.client.xgroup_create("tasks", "workers", "0")
    until(lambda: len(backlog.results()) == 3)
    backlog.assert_each_has_one_result(entries)
    until(lambda: backlog.heartbeat("pod-a").note == "")


@pytest.mark.fault(45)
def test_a_full_redis_is_reported_and_nothing_is_lost(own_server, backlog_on, agents, until):
    backlog = backlog_on(own_server.url)
    entries = backlog.put_numbered(200)
    agents.start(backlog, "pod-a", "pods.agent.handlers.pace:sleep", env={"PACE_RATE": "100"})
    until(backlog.results)
    backlog.client.config_set("maxmemory", 1)
    until(
        lambda: (
            "OOM" in backlog.heartbeat("pod-a").note
            or "OutOfMemory" in backlog.heartbeat("pod-a").note
        )
    )
    backlog.client.config_set("maxmemory", 0)
    until(lambda: len(backlog.results()) == len(entries))
    backlog.assert_each_has_one_result(entries)


@pytest.mark.fault(63)
def test_items_that_are_deleted_or_trimmed_while_pending_do_no_harm(backlog, agents, until):
    entries = backlog.put_numbered(20)
    backlog.client.xreadgroup("workers", "pod-a", {"tasks": ">"})  # an agent, before its restart
    backlog.client.xdel("tasks", *entries[:5])
    second = agents.start(backlog, "pod-a")
    until(lambda: len(backlog.results()) == 15)
    until(lambda: backlog.pending() == 0)

    agents.kill(second)  # otherwise it takes the next items itself
    more = backlog.put_numbered(10)
    backlog.client.xreadgroup("workers", "ghost", {"tasks": ">"})
    backlog.client.xtrim("tasks", maxlen=0)
    last = backlog.put(b"still here")
    agents.start(backlog, "pod-b", claim_idle_seconds=0.2)
    until(lambda: backlog.pending() == 0 and last[0] in backlog.results())
    assert not set(more) & set(backlog.results())
    gone = {letter[b"dead_entry"].decode() for letter in backlog.dead()}
    assert gone == {*entries[:5], *more}


def test_a_handler_that_cannot_be_loaded_is_reported_before_the_agent_ends(backlog, agents, until):
    for handler, why in (
        ("agent_handlers:Broken", "no GPU here"),
        ("agent_handlers:missing", "agent_handlers has no missing"),
        ("no_such_module:f", "no_such_module"),
    ):
        agent = agents.start(backlog, "pod-a", handler)
        until(lambda why=why: why in getattr(backlog.heartbeat("pod-a"), "note", ""))
        assert backlog.heartbeat("pod-a").state.value == "failed"
        assert agent.wait(timeout=patience(20)) == 3


def test_an_item_whose_error_is_not_text_still_becomes_a_dead_letter(backlog, agents, until):
    backlog.put(b"x", id=b"\xff\xfe")
    agents.start(backlog, "pod-a", "agent_handlers:fails_in_no_known_letters", max_deliveries=1)
    [letter] = until(backlog.dead)
    assert letter[b"dead_error"] == b"ValueError: \\udcff"
    assert letter[b"id"] == b"\xff\xfe"


def test_nothing_of_a_killed_agent_lives_on(backlog, agents, until):
    backlog.put(b"3600")
    agent = agents.start(backlog, "pod-a", "agent_handlers:takes_its_time")
    until(lambda: backlog.pending() == 1)
    agent.kill()  # the agent alone, not its child
    agent.wait()

    def group_is_empty():
        with contextlib.suppress(ProcessLookupError):
            os.killpg(agent.pid, 0)
            return False
        return True

    until(group_is_empty)


def test_a_server_error_does_not_end_the_agent(backlog, agents, until):
    agent = agents.start(backlog, "pod-a")
    until(lambda: working(backlog, "pod-a"))
    backlog.client.delete("tasks")
    backlog.client.set("tasks", "not a stream")
    until(lambda: "WRONGTYPE" in backlog.heartbeat("pod-a").note)
    backlog.client.delete("tasks")
    with contextlib.suppress(redis.ResponseError):
        backlog.client.xgroup_create("tasks", "workers", "0", mkstream=True)
    backlog.put(b"x")
    until(backlog.results)
    assert agent.poll() is None
