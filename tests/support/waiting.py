"""Waiting for an event, in tests that watch real processes."""

import time
from collections.abc import Callable
from typing import TypeVar

import pytest

T = TypeVar("T")
PATIENCE_SECONDS = 40.0  # a noisy machine; an event that comes is seen at once
STEP_SECONDS = 0.01


def until(what: Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T:
    """The first true answer of `what`; fails the test where none comes."""
    end = time.monotonic() + seconds
    while not (answer := what()):
        if time.monotonic() > end:
            pytest.fail(f"not within {seconds} s")
        time.sleep(STEP_SECONDS)
    return answer
