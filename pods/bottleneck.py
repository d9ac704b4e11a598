"""Names what holds a pod back, from where its handler's time went. Pure."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# A handler that works for this share of the time is the bottleneck itself: what waits are left are
# those between two batches.
SATURATED: Final = 0.9


class Bottleneck(StrEnum):
    """What keeps a pod from doing more items in the same time."""

    HANDLER = "handler"  # its handler works or loads all the time
    FEED = "feed"  # items wait, but the stream has none for it
    LINK = "link"  # the handler waits for round trips to Redis
    MEMORY = "memory"  # the limit in bytes stops its reading
    IDLE = "idle"  # there is nothing to do
    FAILING = "failing"  # its last tries all failed
    UNKNOWN = "unknown"  # its agent does not say, or nobody knows whether items wait


@dataclass(frozen=True, slots=True, kw_only=True)
class TimeSpent:
    """Where one pod's time went in the last half minute. Unknown is None."""

    busy: float | None  # shares of the time, 0 to 1
    starved: float | None
    link: float | None
    starting: float | None
    full: bool  # the limit in bytes stopped its reading
    all_fail: bool  # its last tries all failed, and there were many
    items_wait: bool | None  # items that a pod could take are in the backlog


def bottleneck(spent: TimeSpent) -> Bottleneck:
    """What holds the pod back. A pod whose handler waits for items where none are is idle."""
    if spent.all_fail:
        return Bottleneck.FAILING
    if spent.busy is None:
        return Bottleneck.UNKNOWN
    if spent.busy + (spent.starting or 0) >= SATURATED:
        return Bottleneck.HANDLER
    if spent.items_wait is False:
        return Bottleneck.IDLE
    if spent.items_wait is None or spent.starved is None or spent.link is None:
        return Bottleneck.UNKNOWN
    if spent.full:
        return Bottleneck.MEMORY
    return Bottleneck.LINK if spent.link > spent.starved else Bottleneck.FEED
