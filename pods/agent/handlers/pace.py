"""A handler that only waits, at an exact pace. It is used to measure a fleet."""

import os
import time
from collections.abc import Sequence

from pods.agent.handlers import Item

# A longer pause counts as idle time and not as overhead of the agent. The pace does not make up for
# it afterwards.
LONGEST_CATCH_UP_SECONDS = 0.5


class Pace:
    """Takes `1 / rate` seconds per item, measured against a deadline, so overhead does not add up."""

    def __init__(self, rate: float, *, longest_catch_up: float = LONGEST_CATCH_UP_SECONDS) -> None:
        if not rate > 0:
            raise ValueError(f"PACE_RATE is {rate}; give items per second above 0")
        self.rate = rate
        self.batch_size = max(1, round(rate))  # a second of work
        self._longest_catch_up = longest_catch_up
        self._due: float | None = None

    def __call__(self, batch: Sequence[Item]) -> Sequence[str]:
        """Wait until the pace allows these items to be done."""
        now = time.monotonic()
        begin = now if self._due is None else max(self._due, now - self._longest_catch_up)
        self._due = begin + len(batch) / self.rate
        time.sleep(max(0.0, self._due - now))
        return ["ok"] * len(batch)


sleep = Pace(float(os.environ.get("PACE_RATE", "8")))


def nothing(batch: Sequence[Item]) -> Sequence[bytes]:
    """Takes no time, so that only the agent and the link are measured."""
    return [b"1"] * len(batch)


def each_batch(batch: Sequence[Item]) -> Sequence[bytes]:
    """Takes `PACE_BATCH_SECONDS` for a batch of any size, as a GPU does."""
    time.sleep(float(os.environ["PACE_BATCH_SECONDS"]))
    return [b"1"] * len(batch)


def each_item(batch: Sequence[Item]) -> Sequence[bytes]:
    """Takes `PACE_ITEM_SECONDS` for each item, as generation of text does."""
    time.sleep(float(os.environ["PACE_ITEM_SECONDS"]) * len(batch))
    return [b"1"] * len(batch)
