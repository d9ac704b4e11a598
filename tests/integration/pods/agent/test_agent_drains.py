"""The usual case: an agent drains the backlog, and ends in good order."""

import ctypes
import json
import signal
from pathlib import Path

import pytest

from tests.support.waiting import patience


def working(backlog, pod):
    beat = backlog.heartbeat(pod)
    return beat is not None and beat.state.value == "working"


def test_two_agents_drain_a_backlog_and_every_item_has_one_result(backlog, agents, until):
    entries = backlog.put_numbered(1000)
    agents.start(backlog, "pod-a")
    agents.start(backlog, "pod-b")
    until(lambda: len(backlog.results()) == len(entries))
    backlog.assert_each_has_one_result(entries)
    assert backlog.results()[entries[7]] == b"ITEM 7"
    assert backlog.dead() == []


def test_a_result_carries_the_users_id_and_the_pod(backlog, agents, until):
    [entry] = backlog.put(b"text", id=b"mine-1")
    agents.start(backlog, "pod-a")
    [(_, fields)] = until(lambda: backlog.client.xrange("tasks:results"))
    assert fields == {
        b"id": b"mine-1",
        b"entry": entry.encode(),
        b"pod": b"pod-a",
        b"result": b"TEXT",
    }


def test_wordllama_embeds_text_in_256_numbers_and_fails_only_items_that_are_not_text(
    backlog, agents, until
):
    good = backlog.put("Grüße".encode(), b"")
    backlog.put(b"\xff\xfe")
    agents.start(backlog, "pod-a", "pods.agent.handlers.wordllama:embed", max_deliveries=1)
    until(lambda: len(backlog.results()) == 2 and backlog.dead())
    assert [len(json.loads(backlog.results()[e])["embedding"]) for e in good] == [256, 256]
    assert b"UnicodeDecodeError" in backlog.dead()[0][b"dead_error"]


def test_pace_works_at_its_rate(backlog, agents, until):
    agents.start(backlog, "pod-a", "pods.agent.handlers.pace:sleep", env={"PACE_RATE": "40"})
    until(lambda: working(backlog, "pod-a"))
    backlog.put_numbered(200)
    until(lambda: len(backlog.results()) == 200)
    published = [int(i.split(b"-")[0]) for i, _ in backlog.client.xrange("tasks:results")]
    # between the first result, which comes alone, and the last one
    assert 199 / ((published[-1] - published[0]) / 1000) == pytest.approx(40, rel=0.1)


def test_an_async_handler_of_single_items_fails_only_the_bad_one(backlog, agents, until):
    good = backlog.put(b"a", b"bb")
    backlog.put(b"poison")
    agents.start(backlog, "pod-a", "agent_handlers:one_by_one", max_deliveries=1)
    until(lambda: len(backlog.results()) == 2 and backlog.dead())
    assert json.loads(backlog.results()[good[1]]) == {"id": good[1], "bytes": 2}


@pytest.mark.fault(58)
def test_odd_payloads_come_through_as_bytes(backlog, agents, until):
    odd = [b"", b"\x00\xff", b"x" * 1_000_000]
    entries = backlog.put(*odd)
    agents.start(backlog, "pod-a")
    until(lambda: len(backlog.results()) == 3)
    assert [backlog.results()[e] for e in entries] == [p.upper() for p in odd]


@pytest.mark.parametrize("handler", ["upper", "needs_a_field"])
def test_an_item_without_the_field_that_the_handler_needs_is_a_dead_letter_at_once(
    backlog, agents, until, handler
):
    good = backlog.put(b"a", b"b", language=b"de")
    bad = backlog.client.xadd("tasks", {"text": "hello", "lang": "de"}).decode()
    agents.start(backlog, "pod-a", f"agent_handlers:{handler}")
    [letter] = until(backlog.dead)
    until(lambda: len(backlog.results()) == 2)
    backlog.assert_each_has_one_result(good)
    missing = b"payload" if handler == "upper" else b"language"
    assert letter[b"dead_error"] == (
        b"MissingField: the item has no field " + missing + b"; it has lang, text"
    )
    assert (letter[b"dead_entry"], letter[b"dead_deliveries"]) == (bad.encode(), b"1")
    assert letter[b"text"] == b"hello"


def test_a_drain_command_ends_an_agent_with_nothing_in_hand(backlog, agents, until):
    entries = backlog.put_numbered(400)
    agent = agents.start(
        backlog, "pod-a", "pods.agent.handlers.pace:sleep", env={"PACE_RATE": "20"}
    )
    until(backlog.results)
    backlog.client.set(backlog.keys.command("pod-a"), "drain")
    assert agent.wait(timeout=patience(30)) == 0
    assert backlog.heartbeat("pod-a").state.value == "drained"
    assert backlog.heartbeat("pod-a").in_flight == 0
    assert 0 < len(backlog.results()) < len(entries)
    assert backlog.pending() == 0
    assert backlog.consumers() == set()


def test_sigterm_drains_too(backlog, agents, until):
    backlog.put_numbered(400)
    pace = {"env": {"PACE_RATE": "20"}, "notice_seconds": 30}
    agent = agents.start(backlog, "pod-a", "pods.agent.handlers.pace:sleep", **pace)
    until(backlog.results)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(timeout=patience(30)) == 0
    assert backlog.heartbeat("pod-a").state.value == "drained"
    assert backlog.pending() == 0


@pytest.mark.parametrize("command", ["drain", "stop"])
@pytest.mark.fault(39)
def test_unfinished_items_are_given_back_at_once(backlog, agents, until, command):
    agent = agents.start(
        backlog, "pod-a", "agent_handlers:takes_its_time", batch_size=1, drain_seconds=0.5
    )
    entries = [*backlog.warm_up(), *backlog.put(b"3600", b"0", b"0")]
    until(lambda: backlog.pending() == 3)
    backlog.client.set(backlog.keys.command("pod-a"), command)
    assert agent.wait(timeout=patience(20)) == 0
    assert backlog.pending() == 3
    assert "pod-a" not in backlog.consumers()
    tries = backlog.client.xpending_range("tasks", "workers", "-", "+", 3)
    assert [p["times_delivered"] for p in tries] == [1, 0, 0]
    agents.start(backlog, "pod-b", claim_idle_seconds=600)
    until(lambda: len(backlog.results()) == len(entries))
    backlog.assert_each_has_one_result(entries)


def test_a_machine_that_is_taken_away_gives_back_in_time_what_it_cannot_finish(
    backlog, agents, until
):
    """What a vendor does: SIGTERM, and a kill soon after."""
    agent = agents.start(
        backlog, "pod-a", "agent_handlers:takes_its_time", batch_size=1, notice_seconds=0.5
    )
    entries = [*backlog.warm_up(), *backlog.put(b"60", *[b"0"] * 20)]
    until(lambda: backlog.pending_of("pod-a") > 1)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(timeout=patience(4.5)) == 0
    assert backlog.pending_of("pod-a") == 0
    assert backlog.heartbeat("pod-a").state.value == "drained"
    agents.start(backlog, "pod-b", batch_size=4, claim_idle_seconds=3600)
    until(lambda: len(backlog.results()) == len(entries))
    backlog.assert_each_has_one_result(entries)


def test_an_idle_agent_says_so_and_keeps_no_item_from_others(backlog, agents, until):
    agents.start(backlog, "pod-a")
    until(lambda: working(backlog, "pod-a") and backlog.heartbeat("pod-a").idle_ms > 500)
    assert backlog.heartbeat("pod-a").held_ms == 0
    backlog.put(b"x")
    until(backlog.results)
    until(lambda: backlog.heartbeat("pod-a").done == 1)
    assert backlog.heartbeat("pod-a").held_ms < backlog.heartbeat("pod-a").uptime_ms - 500
    assert backlog.heartbeat("pod-a").idle_ms < 500 + backlog.heartbeat("pod-a").since_ack_ms


def test_a_result_goes_where_the_item_asks_if_it_may(backlog, agents, until):
    backlog.put(b"here")
    backlog.put(b"app", reply_to=b"tasks:results:app")
    backlog.put(b"else", reply_to=b"elsewhere:1")
    backlog.put(b"evil", reply_to=b"podfleet:test:lease")
    agents.start(backlog, "pod-a", reply_to="elsewhere:*")
    until(lambda: backlog.client.xlen("elsewhere:1") and backlog.dead())
    assert backlog.client.xlen("tasks:results:app") == 1
    assert backlog.client.xlen("tasks:results") == 1
    [letter] = backlog.dead()
    assert letter[b"payload"] == b"evil"
    assert b"podfleet:test:lease" in letter[b"dead_error"]
    assert backlog.pending() == 0


@pytest.mark.fault(60)
def test_a_target_that_is_no_stream_sends_the_item_to_the_dead_letters(backlog, agents, until):
    backlog.client.set("tasks:results:bad", "a string")
    backlog.put(b"x", reply_to=b"tasks:results:bad")
    [good] = backlog.put(b"y")
    agents.start(backlog, "pod-a")
    [letter] = until(backlog.dead)
    assert b"is a string" in letter[b"dead_error"]
    until(lambda: backlog.results() == {good: b"Y"})


def test_a_signal_that_another_thread_gets_ends_an_idle_agent_too(backlog, agents, until):
    """The kernel gives it to another thread where the main one was frozen and has not run since."""
    agent = agents.start(backlog, "pod-a")
    backlog.warm_up()
    others = {int(task.name) for task in Path(f"/proc/{agent.pid}/task").iterdir()} - {agent.pid}
    sent = ctypes.CDLL(None).tgkill(agent.pid, min(others), signal.SIGTERM)
    assert sent == 0
    assert agent.wait(timeout=patience(20)) == 0
