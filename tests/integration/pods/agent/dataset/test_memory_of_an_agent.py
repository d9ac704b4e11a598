"""The memory of a real agent stays within PODFLEET_RANGE_BYTES, beside what it needs by itself."""

import random
import re
from pathlib import Path

import pytest

from tests.support.rigs.dataset_rig import texts
from tests.support.waiting import until

RANGE_BYTES = 64 * 1024 * 1024
MOST_BESIDE = (
    72 * 1024 * 1024
)  # a row group of the input and of the part, requests, and their copies
ROWS = 60_000  # of 2 kB: twice the limit


def peak_bytes(pid: int) -> int:
    said = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert said is not None
    return 1024 * int(said[1])


@pytest.mark.takes(15)
@pytest.mark.parametrize("handler", ["echoes", "echo_columns"])
def test_an_agent_takes_no_more_memory_than_its_limit(dataset, handler):
    made = random.Random(1)
    large = dataset.texts([made.randbytes(1000).hex() for _ in range(ROWS)], group=2500)
    dataset.feed(dataset.texts(texts(10), name="small.parquet"))
    agent = dataset.start("pod-a", handler, range_bytes=RANGE_BYTES)
    dataset.until_drained(1)
    itself = peak_bytes(agent.pid)
    dataset.feed(large)
    until(lambda: sum(receipt.rows for receipt in dataset.receipts()) == ROWS + 10)
    assert peak_bytes(agent.pid) - itself < RANGE_BYTES + MOST_BESIDE
