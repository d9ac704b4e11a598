"""A row that ends its whole pod costs that row alone; and idle agents get a share of a long range."""

import subprocess
from typing import Any

import pytest

from pods.agent.dataset.dividing import MOST_DIVISIONS
from tests.support.rigs.dataset_rig import Dataset, texts
from tests.support.waiting import until


def ending(rows: int, *worst: int) -> list[str]:
    return ["pod" if n in worst else text for n, text in enumerate(texts(rows))]


class KeptRunning:
    """An agent that is started again under its name whenever it ends."""

    def __init__(self, dataset: Dataset, **settings: Any) -> None:
        self._dataset, self._settings = dataset, settings
        self._agent: subprocess.Popen[bytes] | None = None
        self.ended = -1

    def until(self, what) -> None:
        until(lambda: self._keep_running() or what(), seconds=90)

    def _keep_running(self) -> None:
        if self._agent is None or self._agent.poll() is not None:
            self.ended += 1
            self._agent = self._dataset.start(
                "pod-a", "chaotic", env={"PACE_SECONDS": "0"}, **self._settings
            )


@pytest.mark.takes(20)
def test_a_row_that_ends_its_pod_is_an_error_row_and_costs_no_other(dataset):
    dataset.feed(dataset.texts(ending(40, 7)))
    agent = KeptRunning(dataset, max_deliveries=2)
    agent.until(lambda: len(dataset.receipts()) >= 40 and dataset._drained(40))
    dataset.assert_each_row_once([f"t.parquet-{n}" for n in range(40)])
    [error] = dataset.errors().values()
    assert (error["id"], error["tries"]) == ("t.parquet-7", 0)
    assert error["error"] == "its pod ended 3 times while it worked on this row"
    assert agent.ended == 6  # three times the whole range, three times its row
    assert dataset.backlog.dead() == []


@pytest.mark.takes(15)
def test_a_fleet_with_too_many_such_ranges_divides_no_more(dataset):
    of = dataset.texts(ending(2, 0, 1))
    dataset.feed(of)
    dataset.backlog.client.hset(dataset.backlog.keys.rows, "divided", str(MOST_DIVISIONS))
    KeptRunning(dataset, max_deliveries=1).until(dataset.backlog.dead)
    [letter] = dataset.backlog.dead()
    assert letter[b"dead_error"] == b"given up: begun 3 times, and no agent reported back"
    assert dataset.rows()["dead"] == 2


@pytest.mark.takes(15)
def test_an_idle_agent_gets_half_of_a_long_rest(dataset):
    dataset.feed(dataset.texts(texts(3000)))
    slow = {"env": {"PACE_SECONDS": "0.03"}, "batch_size": 8, "claim_idle_seconds": 2}
    holder = dataset.start("pod-a", "slow", **slow)
    until(lambda: getattr(dataset.backlog.heartbeat("pod-a"), "done", 0) > 20)
    dataset.start("pod-b", claim_idle_seconds=2)  # quick
    until(lambda: len(dataset.receipts()) == 2)
    first, shared = dataset.receipts()
    assert 0 < shared.rows <= (3000 - first.rows) // 2 + 1
    until(lambda: dataset.backlog.heartbeat("pod-b").done >= shared.rows)
    dataset.agents.kill(holder)
    dataset.until_drained(3)
    dataset.assert_each_row_once([f"t.parquet-{n}" for n in range(3000)])
