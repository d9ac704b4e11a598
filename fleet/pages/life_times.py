"""The time limits of a pod's life as bars on one scale, from a second to a week. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from fleet.models.fields import LONGEST_SECONDS
from pods.durations import lasting

# In the order of a pod's life: the field, its name, and what happens after that time.
FIELDS: Final[Mapping[str, tuple[str, str]]] = {
    "boot_seconds": ("Boot", "replaced, if its agent has not registered"),
    "heartbeat_seconds": ("Heartbeat", "sends the next sign of life"),
    "silent_seconds": ("Silent", "written off without a sign of life"),
    "idle_seconds": ("Idle", "retired without work"),
    "drain_seconds": ("Drain", "ended, even with items in hand"),
    "orphan_seconds": ("No manager", "ends itself without a manager"),
}
MARKS: Final = ((1, "1 s"), (10, "10 s"), (60, "1 min"), (600, "10 min"), (3600, "1 h"))
WIDTH: Final = 100.0
LATEST_MARK: Final = 86_400


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """One time limit: from 0 to `width` percent of the scale."""

    name: str
    after: str  # "15 min"
    meaning: str
    width: float


def drawn(seconds: Mapping[str, float | None]) -> Sequence[Bar]:
    """A bar for each time that is known."""
    return [
        Bar(
            name=name,
            after=f"{value:g} s" if value < 10 else lasting(timedelta(seconds=value)),
            meaning=meaning,
            width=_place(value),
        )
        for field, (name, meaning) in FIELDS.items()
        if (value := seconds.get(field)) is not None and 0 < value <= LONGEST_SECONDS
    ]


def marks() -> Sequence[tuple[float, str]]:
    """The places of the scale that have a text."""
    return [(_place(value), text) for value, text in (*MARKS, (LATEST_MARK, "1 day"))]


def _place(value: float) -> float:
    """Where a time is on the scale: equal steps are equal factors, from 1 s to a week."""
    share = math.log(max(value, 1.0)) / math.log(LONGEST_SECONDS)
    return round(WIDTH * min(share, 1.0), 1)
