"""What a depth means: how many pods it is worth, and how long it lasts. Pure."""

from datetime import timedelta
from typing import Final

# 30 years. A longer estimate only means that the rate is nearly 0.
LONGEST_SECONDS: Final = 10**9


def pods_for(depth: int, target_depth_per_pod: int) -> int:
    """ceil(depth / target_depth_per_pod), in pods."""
    return -(-depth // target_depth_per_pod)


def time_left(depth: int | None, items_per_second: float | None) -> timedelta | None:
    """How long the backlog lasts at this rate (the ETA); None if the rate is 0 or not known."""
    if depth is None or not items_per_second:
        return None
    return timedelta(seconds=min(depth / items_per_second, LONGEST_SECONDS))
