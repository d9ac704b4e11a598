"""Waiting for an event, in tests that watch real processes."""

import os
import time
from collections.abc import Callable
from typing import Final, TypeVar

import pytest

T = TypeVar("T")
PATIENCE_SECONDS = 40.0  # on a machine with a core to spare; an event that comes is seen at once
STEP_SECONDS = 0.01
SLOWEST: Final = 10.0


def until(what: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """The first true answer of `what`; fails the test where none comes, later on a busy machine."""
    began = time.monotonic()
    while not (answer := what()):
        if time.monotonic() - began > (longest := patience(seconds)):
            pytest.fail(f"not within {longest:.0f} s")
        time.sleep(STEP_SECONDS)
    return answer


def patience(seconds: float) -> float:
    """How long to wait for what takes at most so long on a machine with a core to spare."""
    return seconds * slowness()


def slowness() -> float:
    """How much longer things take at the moment: how many processes want each core."""
    return min(SLOWEST, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))
