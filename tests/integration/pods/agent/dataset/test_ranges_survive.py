"""Faults around agents of a dataset: each input row has exactly one output row or error row."""

import os
import random
import signal
import time
from base64 import b64encode
from random import Random

import pytest

from pods.agent.dataset.backlog import RangeStream
from pods.agent.protocol import DATASET, AgentSettings
from pods.agent.ranges import Receipt
from tests.support.dataset_files import cut
from tests.support.rigs.agent_rig import Backlog
from tests.support.rigs.dataset_rig import Dataset, texts
from tests.support.waiting import patience

QUICK_CLAIMS = {"claim_idle_seconds": 1.5}


def names(count, file="t.parquet"):
    return [f"{file}-{n}" for n in range(count)]


def drain(dataset, pod):
    dataset.backlog.client.set(dataset.backlog.keys.command(pod), "drain")


def test_a_kill_between_put_and_commit_doubles_no_row(dataset, until):
    dataset.feed(dataset.texts(texts(100, bad=[9])))
    results = dataset.backlog.results_stream
    dataset.backlog.client.set(results, "not a stream")  # the commit is refused, and tried again
    victim = dataset.start("pod-a", "refuses_bad", **QUICK_CLAIMS)
    until(lambda: "WRONGTYPE" in getattr(dataset.backlog.heartbeat("pod-a"), "note", ""))
    assert len(dataset.parts()) == 1
    dataset.agents.kill(victim)
    dataset.backlog.client.delete(results)
    dataset.start("pod-b", "refuses_bad", **QUICK_CLAIMS)
    dataset.until_drained(1)
    dataset.assert_each_row_once(names(100))
    assert dataset.parts() == {dataset.receipts()[0].part}


def test_a_lost_answer_of_a_commit_is_no_duplicate(dataset, until):
    """The same agent repeats a commit that was done: it recognises its own receipt."""
    of = dataset.texts(texts(10))
    [entry] = dataset.feed(of)
    settings = AgentSettings(
        redis_url=dataset.backlog.url, fleet="test", pod="pod-a", stream="tasks", group="workers",
        handler="a:b", kind=DATASET,
    )  # fmt: skip
    stream = RangeStream(settings)
    stream.read(1, 10_000)
    receipt = Receipt(of.id, "x", 0, None, 10, 9, 1, 5, 0.1, "part", "etag")
    rest = of.rest(7, 3)
    first = stream.commit_range(entry, receipt, 3, [rest])
    second = stream.commit_range(entry, receipt, 3, [rest])
    assert (first.ours, second.ours) == (True, False)
    assert second.counts == receipt
    assert dataset.rows() == {"planned": 13, "done": 9, "failed": 1}
    [left], _ = stream.read(5, 10_000)
    assert left.fields[b"id"] == rest.id.encode()


def test_a_kill_while_rows_are_worked_on_costs_no_row(dataset, until):
    dataset.feed(*cut(dataset.texts(texts(400)), 100, 200, 300))
    slow = {"env": {"PACE_SECONDS": "0.02"}, **QUICK_CLAIMS}
    victim = dataset.start("pod-a", "slow", **slow)
    until(lambda: getattr(dataset.backlog.heartbeat("pod-a"), "done", 0) > 30)
    dataset.agents.kill(victim)
    dataset.start("pod-b", "length", **QUICK_CLAIMS)
    dataset.until_drained(4)
    dataset.assert_each_row_once(names(400))
    until(lambda: dataset.backlog.heartbeat("pod-b").claimed >= 1)


def test_an_agent_restarted_under_its_name_goes_on_with_its_range(dataset, until):
    dataset.feed(dataset.texts(texts(200)))
    first = dataset.start("pod-a", "slow", env={"PACE_SECONDS": "0.05"})
    until(lambda: getattr(dataset.backlog.heartbeat("pod-a"), "done", 0) > 5)
    dataset.agents.kill(first)
    dataset.start("pod-a", claim_idle_seconds=600)
    dataset.until_drained(1)
    dataset.assert_each_row_once(names(200))


@pytest.mark.parametrize("end", ["drain", "SIGTERM"])
def test_an_end_in_the_middle_hands_back_the_rest(dataset, until, end):
    dataset.feed(dataset.texts(texts(400)))
    agent = dataset.start("pod-a", "slow", env={"PACE_SECONDS": "0.01"}, batch_size=8)
    until(lambda: getattr(dataset.backlog.heartbeat("pod-a"), "done", 0) > 30)
    if end == "drain":
        drain(dataset, "pod-a")
    else:
        agent.send_signal(signal.SIGTERM)
    assert agent.wait(timeout=patience(20)) == 0
    [receipt] = dataset.receipts()
    assert 30 < receipt.rows < 400
    assert (receipt.start, receipt.end) == (0, receipt.rows)
    assert dataset.rows() == {"planned": 400, "done": receipt.rows, "failed": 0}
    dataset.start("pod-b")
    dataset.until_drained(2)
    dataset.assert_each_row_once(names(400))
    assert dataset.backlog.heartbeat("pod-b").claimed == 0  # the rest is a new entry


def test_a_notice_that_a_batch_outlasts_gives_back_what_is_not_finished(dataset, until, tmp_path):
    dataset.feed(dataset.texts(texts(50)))
    gate = {"env": {"GATE": str(tmp_path / "gate")}}
    agent = dataset.start("pod-a", "waits_for_a_file", notice_seconds=1, **gate)
    until(lambda: dataset.backlog.pending_of("pod-a"))
    until(lambda: getattr(dataset.backlog.heartbeat("pod-a"), "oldest_ms", 0) > 100)
    agent.send_signal(signal.SIGTERM)
    assert agent.wait(timeout=patience(20)) == 0
    assert dataset.receipts() == []
    dataset.start("pod-b")
    dataset.until_drained(1)
    dataset.assert_each_row_once(names(50))


def test_a_range_that_is_too_large_is_written_in_pieces(dataset):
    random = Random(1)  # what is compressed well fits into one part
    rows = [b64encode(random.randbytes(1500)).decode() for _ in range(3000)]
    dataset.feed(dataset.texts(rows))
    dataset.start("pod-a", "echoes", range_bytes=2_000_000)
    dataset.until_drained(2)
    dataset.assert_each_row_once(names(3000))
    assert len(dataset.receipts()) >= 3


def test_a_frozen_agent_that_is_late_removes_its_own_part(dataset, until):
    """Its failures differ, so the names do. The receipt says which part counts."""
    dataset.feed(dataset.texts(texts(60)))
    results = dataset.backlog.results_stream
    dataset.backlog.client.set(results, "not a stream")
    late = dataset.start("pod-a", "fails_in_pod_a", env={"POD": "a"}, **QUICK_CLAIMS)
    until(lambda: "WRONGTYPE" in getattr(dataset.backlog.heartbeat("pod-a"), "note", ""))
    os.killpg(late.pid, signal.SIGSTOP)
    [first] = dataset.parts()
    dataset.backlog.client.delete(results)
    dataset.start("pod-b", **QUICK_CLAIMS)
    dataset.until_drained(1)
    assert len(dataset.parts()) == 2
    os.killpg(late.pid, signal.SIGCONT)
    until(lambda: first not in dataset.parts())
    dataset.assert_each_row_once(names(60))
    assert {found.name for found in dataset.sink.list()} == {dataset.receipts()[0].part}
    until(lambda: dataset.backlog.heartbeat("pod-a").duplicates == 1)


def test_a_frozen_agent_that_is_late_leaves_the_part_that_counts(dataset, until):
    """Both have the same name: the second agent found the part of the first one."""
    dataset.feed(dataset.texts(texts(60)))
    results = dataset.backlog.results_stream
    dataset.backlog.client.set(results, "not a stream")
    late = dataset.start("pod-a", **QUICK_CLAIMS)
    until(lambda: "WRONGTYPE" in getattr(dataset.backlog.heartbeat("pod-a"), "note", ""))
    os.killpg(late.pid, signal.SIGSTOP)
    dataset.backlog.client.delete(results)
    dataset.start("pod-b", **QUICK_CLAIMS)
    dataset.until_drained(1)
    os.killpg(late.pid, signal.SIGCONT)
    until(lambda: not dataset.backlog.heartbeat("pod-a").in_flight)
    dataset.assert_each_row_once(names(60))


def test_two_agents_on_one_range_of_which_one_hands_it_back(dataset, until):
    """The beginning of the first one counts. The second one is late with the whole range."""
    dataset.feed(dataset.texts(texts(300)))
    slow = {"env": {"PACE_SECONDS": "0.02"}, **QUICK_CLAIMS}
    first = dataset.start("pod-a", "slow", **slow)
    until(lambda: getattr(dataset.backlog.heartbeat("pod-a"), "done", 0) > 20)
    os.killpg(first.pid, signal.SIGSTOP)
    dataset.start("pod-b", "slow", **slow)
    until(lambda: getattr(dataset.backlog.heartbeat("pod-b"), "done", 0) > 5)
    drain(dataset, "pod-a")
    os.killpg(first.pid, signal.SIGCONT)
    assert first.wait(timeout=patience(20)) == 0
    dataset.until_drained(2)
    until(lambda: len(dataset.parts()) == 2)
    dataset.assert_each_row_once(names(300))
    assert dataset.parts() == {receipt.part for receipt in dataset.receipts()}
    until(lambda: dataset.backlog.heartbeat("pod-b").duplicates == 1)


def test_the_next_range_is_read_while_the_handler_works(dataset, until):
    dataset.feed(*cut(dataset.texts(texts(400)), 100, 200, 300))
    dataset.start("pod-a", "slow", env={"PACE_SECONDS": "0.01"})
    until(lambda: dataset.backlog.pending_of("pod-a") > 1)
    dataset.until_drained(4)
    dataset.assert_each_row_once(names(400))


def test_a_fenced_agent_writes_nothing_more(dataset, until):
    dataset.feed(dataset.texts(texts(100)))
    agent = dataset.start("pod-a", "slow", env={"PACE_SECONDS": "0.05"})
    until(lambda: getattr(dataset.backlog.heartbeat("pod-a"), "done", 0) > 3)
    dataset.backlog.client.set(dataset.backlog.keys.fence("pod-a"), "1")
    assert agent.wait(timeout=patience(20)) == 4
    assert dataset.receipts() == []
    dataset.start("pod-b", **QUICK_CLAIMS)
    dataset.until_drained(1)
    dataset.assert_each_row_once(names(100))


def test_a_redis_that_restarts_loses_no_row(own_server, agents, until, tmp_path):
    (tmp_path / "files").mkdir()
    dataset = Dataset.in_folder(Backlog(own_server.url), agents, tmp_path / "files")
    dataset.feed(*cut(dataset.texts(texts(400)), 100, 200, 300))
    dataset.start("pod-a", "slow", env={"PACE_SECONDS": "0.01"})
    until(lambda: len(dataset.receipts()) >= 1)
    own_server.kill()
    time.sleep(1)
    own_server.start()
    dataset.until_drained(4)
    dataset.assert_each_row_once(names(400))


def test_a_store_that_is_away_is_waited_for(backlog, agents, s3, until):
    dataset = Dataset(backlog, agents, s3.url)
    dataset.feed(*cut(dataset.texts(texts(400)), 100, 200, 300))
    dataset.start("pod-a", "slow", env={"PACE_SECONDS": "0.005"})
    until(lambda: len(dataset.receipts()) >= 1)
    s3.kill()
    until(lambda: "store" in backlog.heartbeat("pod-a").note)
    s3.start()
    dataset.until_drained(4)
    dataset.assert_each_row_once(names(400))
    assert backlog.heartbeat("pod-a").dead == 0
    until(lambda: not backlog.heartbeat("pod-a").note)


def test_agents_that_are_killed_again_and_again_lose_and_double_no_row(dataset):
    chance = random.Random(20261130)
    bad = sorted(chance.sample(range(3000), 20))
    bounds = sorted(chance.sample(range(1, 3000), 29))
    dataset.feed(*cut(dataset.texts(texts(3000, bad=bad)), *bounds))
    how = {"env": {"PACE_SECONDS": "0.001"}, "max_deliveries": 50, **QUICK_CLAIMS}
    running = [dataset.start(f"pod-{n}", "refuses_bad_slowly", **how) for n in range(2)]
    for n in range(8):
        time.sleep(chance.uniform(0.5, 2.0))
        victim = running.pop(0)
        if n % 3 == 2:
            victim.send_signal(signal.SIGTERM)
        else:
            dataset.agents.kill(victim)
        running.append(dataset.start(f"pod-{n + 2}", "refuses_bad_slowly", **how))
    dataset.until_drained(30)
    dataset.assert_each_row_once(names(3000))
    assert set(dataset.errors()) == {f"t.parquet-{n}" for n in bad}
