"""Faults at certain moments of a put into a real S3 server: no row is lost, and none is doubled."""

import os
import signal
import subprocess
from collections.abc import Iterator

import pytest

from tests.support.dataset_files import cut
from tests.support.rigs.dataset_rig import Dataset, texts
from tests.support.store_proxy import Goes, Moment, StoreProxy
from tests.support.waiting import patience


@pytest.fixture
def proxy(s3) -> Iterator[StoreProxy]:
    made = StoreProxy(s3.port)
    yield made
    made.close()


@pytest.fixture
def on_s3(backlog, agents, s3) -> Dataset:
    return Dataset(backlog, agents, s3.url)


@pytest.mark.takes(10)
def test_a_kill_between_put_and_commit_and_a_lost_answer_of_a_put(on_s3, s3, proxy):
    on_s3.feed(*cut(on_s3.texts(texts(200, bad=[9])), 50, 100, 150))
    started: list[subprocess.Popen[bytes]] = []

    def kill() -> Goes:
        os.killpg(started[0].pid, signal.SIGKILL)
        return Goes.LOST

    proxy.at_next(Moment.PART_ANSWERED, kill)
    by_proxy = {"env": {"AWS_ENDPOINT_URL": proxy.endpoint}, "claim_idle_seconds": 1.5}
    started.append(on_s3.start("pod-a", "refuses_bad", **by_proxy))
    started[0].wait(patience(30))
    assert (len(on_s3.parts()), on_s3.receipts()) == (1, [])
    proxy.at_next(Moment.PART_ANSWERED, lambda: Goes.LOST)
    on_s3.start("pod-b", "refuses_bad", **by_proxy)
    on_s3.until_drained(4)
    assert proxy.happened == 2
    on_s3.assert_each_row_once([f"t.parquet-{n}" for n in range(200)])
    assert on_s3.parts() == {receipt.part for receipt in on_s3.receipts()}


@pytest.mark.takes(10)
def test_a_store_that_answers_503_and_cuts_answers_off_is_asked_again(on_s3, s3, proxy, until):
    on_s3.feed(*cut(on_s3.texts(texts(200)), 50, 100, 150))
    proxy.refuse(12)
    proxy.at_next(Moment.INPUT_ANSWERED, lambda: Goes.HALF)
    on_s3.start("pod-a", env={"AWS_ENDPOINT_URL": proxy.endpoint})
    until(lambda: "store" in getattr(on_s3.backlog.heartbeat("pod-a"), "note", ""))
    on_s3.until_drained(4)
    assert proxy.happened == 1
    on_s3.assert_each_row_once([f"t.parquet-{n}" for n in range(200)])
