"""What a depth means: how many pods it is worth, and how long it lasts. Pure."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from fleet.decision.values import OfferFacts
from pods.price import HOUR_SECONDS, MILLION

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


def speeds_of_offers(offers: Sequence[OfferFacts]) -> dict[str, float]:
    """Items/s of a pod by GPU type, as the prices of a million items say it; the best offer counts."""
    return {
        o.gpu_type: float(o.hourly_usd / o.million_items_usd) * MILLION / HOUR_SECONDS
        for o in reversed(offers)
        if o.million_items_usd and o.hourly_usd
    }
