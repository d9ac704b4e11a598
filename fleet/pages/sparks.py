"""The backlog of the last hours as a small line, dotted from now to its end."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from typing import Final

from fleet.models import Sample
from pods.base.words import items

SPAN: Final = timedelta(hours=6)
STEP: Final = timedelta(minutes=5)  # the samples of grain 1 are so far apart
WIDTH, HEIGHT, PAST = 120, 24, 90  # of the drawing; the rest of the width is the time to come
AHEAD: Final = timedelta(hours=2)  # that the rest of the width stands for

Point = tuple[datetime, int | None]  # None: nobody knew how many items waited


@dataclass(frozen=True, slots=True, kw_only=True)
class Spark:
    """A drawing of WIDTH by HEIGHT, and what it shows in words."""

    lines: Sequence[str]  # the points of each unbroken line, as SVG writes them
    ahead: (
        str  # the points of the dotted line to where the backlog is empty; "": it is not foreseen
    )
    text: str


def waiting(fleets: Collection[int], now: datetime) -> Mapping[int, Sequence[Point]]:
    """How many items waited in these fleets, oldest first. One query."""
    found: dict[int, list[Point]] = defaultdict(list)
    if fleets:
        rows = Sample.objects.filter(fleet__in=fleets, grain__in=(1, 2), at__gte=_begin(now))
        for pk, at, depth in rows.order_by("at").values_list("fleet_id", "at", "depth"):
            found[pk].append((at, depth))
    return found


def _begin(now: datetime) -> datetime:
    """Where the drawing begins; it moves with the samples, so that a page stays as it is meanwhile."""
    since = now - SPAN
    return since - timedelta(seconds=since.timestamp() % STEP.total_seconds())


def spark(
    points: Sequence[Point], *, now: datetime, depth: int | None, eta: timedelta | None
) -> Spark | None:
    """The line through the points; None for fewer than two, of which no line can be drawn."""
    known = [(at, count) for at, count in points if count is not None]
    if len(known) < 2:
        return None
    begin, most = _begin(now), max(1, depth or 0, *(count for _, count in known))
    drawn = [
        (PAST * (at - begin) / (SPAN + STEP), None if count is None else _y(count, most))
        for at, count in points
    ]
    lines = [
        " ".join(f"{x:.1f},{y:.1f}" for x, y in run)
        for is_known, run in groupby(drawn, key=lambda point: point[1] is not None)
        if is_known
    ]
    ahead = ""
    if depth is not None and eta is not None:
        ahead = _ahead(_y(depth, most), eta)
    ends = f"from {items(known[0][1])} to {items(known[-1][1])}, at most {items(most)}"
    return Spark(lines=lines, ahead=ahead, text=f"Items waiting in the last 6 hours: {ends}")


def _ahead(y: float, eta: timedelta) -> str:
    """From now to the empty backlog, or to the edge on the way there."""
    share = min(1.0, AHEAD / eta) if eta else 1.0
    x = PAST + (WIDTH - PAST) * min(1.0, eta / AHEAD)
    return f"{PAST},{y:.1f} {x:.1f},{y + (HEIGHT - 1 - y) * share:.1f}"


def _y(count: int, most: int) -> float:
    return HEIGHT - 1 - (HEIGHT - 2) * count / most
