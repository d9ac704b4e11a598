"""Waits for an event, in tests with real processes."""

import os
import time
from collections.abc import Callable
from typing import Final, TypeVar

import pytest

T = TypeVar("T")
PATIENCE_SECONDS = 40.0  # on a machine with a free core; an event is noticed at once
STEP_SECONDS = 0.01
SLOWEST: Final = 10.0


def until(what: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """Wait for the first true answer of `what` and return it; fail the test if none comes in time."""
    began = time.monotonic()
    while not (answer := what()):
        if time.monotonic() - began > (longest := patience(seconds)):
            pytest.fail(f"it did not hold within {longest:.0f} s")
        time.sleep(STEP_SECONDS)
    return answer


def patience(seconds: float) -> float:
    """The seconds to wait now for something that takes at most `seconds` on a machine with a free core."""
    return seconds * slowness()


def slowness() -> float:
    """How many times longer things take now: the number of processes for each core."""
    return min(SLOWEST, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))
