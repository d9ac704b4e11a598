"""Durations as text, and in steps that last."""

from datetime import timedelta

import pytest

from pods import durations


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"), (3.9, "3 s"), (9, "9 s"), (46, "40 s"), (59.9, "50 s"), (60, "1 min"),
        (115, "1 min"), (245, "4 min"), (3900, "1 h 5 min"), (3959, "1 h 5 min"), (100_000, "1 d 3 h"),
    ],
)  # fmt: skip
def test_a_duration_in_steps_stays_as_it_is_for_as_long(seconds: float, text: str) -> None:
    assert durations.in_steps(timedelta(seconds=seconds)) == text
