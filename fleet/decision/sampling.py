"""A sample: one pod works on a part of the backlog, so that a quote knows its speed. Pure."""

from enum import StrEnum


class Sampling(StrEnum):
    """How far a sample is."""

    MEASURES = "measures"  # one pod may work
    OVER = "over"  # the fleet is paused, so the pod of the sample ends


def is_enough(*, done: int, wanted: int, items_per_second: float | None, seconds: float) -> bool:
    """Whether the next look, after so many seconds, would find more items done than wanted."""
    return done + (items_per_second or 0.0) * seconds >= wanted
