"""The backlog of the last hours as a small line, dotted from now to its end."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby
from operator import itemgetter
from typing import Final

from django.db.models import Count, Max, Sum

from fleet.models import Sample
from fleet.pages.seconds import WholeSeconds
from pods.base.words import items
from pods.durations import stepped

SPAN: Final = timedelta(hours=6)
STEP: Final = timedelta(minutes=5)  # the samples of grain 1 are so far apart
WIDTH, HEIGHT, PAST = 120, 24, 90  # of the drawing; the rest of the width is the time to come
AHEAD: Final = timedelta(hours=2)  # that the rest of the width stands for

# The seconds since 1970 and how many items waited; None: nobody knew.
Point = tuple[int, int | None]
# Of the points of a fleet: how many, how many are known, their sum, and when the last one was. Samples
# are only inserted, and deleted when they are old, so other points have another mark.
Mark = tuple[int, int, int, int]


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
        rows = Sample.objects.filter(fleet__in=fleets, grain__in=(1, 2), at__gte=begin(now))
        for pk, at, depth in rows.values_list("fleet_id", WholeSeconds("at"), "depth"):
            found[pk].append((at, depth))
    for points in found.values():
        points.sort(key=itemgetter(0))  # here, because a database would sort all fleets together
    return found


def marks(fleets: Collection[int], now: datetime) -> Mapping[int, Mark]:
    """The marks of what `waiting` would find, which the database counts. One query."""
    rows = Sample.objects.filter(fleet__in=fleets, grain__in=(1, 2), at__gte=begin(now))
    counted = rows.values_list("fleet_id").annotate(
        Count("pk"), Count("depth"), Sum("depth"), Max("at")
    )
    found = {}
    for pk, count, known, waited, last in counted if fleets else ():
        found[pk] = (count, known, int(waited or 0), int(last.timestamp()))
    return found


def marks_of(points: Mapping[int, Sequence[Point]]) -> Mapping[int, Mark]:
    """The marks of these points."""
    found = {}
    for pk, each in points.items():
        known = [depth for _, depth in each if depth is not None]
        found[pk] = (len(each), len(known), sum(known), each[-1][0])
    return found


def begin(now: datetime) -> datetime:
    """Where the drawing begins; it moves with the samples, so that a page stays as it is meanwhile."""
    since = now - SPAN
    return since - timedelta(seconds=since.timestamp() % STEP.total_seconds())


def spark(
    points: Sequence[Point], *, now: datetime, depth: int | None, eta: timedelta | None
) -> Spark | None:
    """The line through the points; None for fewer than two, of which no line can be drawn."""
    known = [count for _, count in points if count is not None]
    if len(known) < 2:
        return None
    most = max(1, depth or 0, *known)
    since, wide = int(begin(now).timestamp()), PAST / (SPAN + STEP).total_seconds()
    low, high = HEIGHT - 1, (HEIGHT - 2) / most
    lines = [
        " ".join(
            [f"{(at - since) * wide:.1f},{low - high * n:.1f}" for at, n in run if n is not None]
        )
        for is_known, run in groupby(points, key=_is_known)
        if is_known
    ]
    ahead = ""
    if depth is not None and eta is not None:
        ahead = _ahead(_y(depth, most), stepped(eta))
    ends = f"from {items(known[0])} to {items(known[-1])}, at most {items(most)}"
    return Spark(lines=lines, ahead=ahead, text=f"Items waiting in the last 6 hours: {ends}")


def _is_known(point: Point) -> bool:
    return point[1] is not None


def _ahead(y: float, eta: timedelta) -> str:
    """From now to the empty backlog, or to the edge on the way there."""
    share = min(1.0, AHEAD / eta) if eta else 1.0
    x = PAST + (WIDTH - PAST) * min(1.0, eta / AHEAD)
    return f"{PAST},{y:.1f} {x:.1f},{y + (HEIGHT - 1 - y) * share:.1f}"


def _y(count: int, most: int) -> float:
    return HEIGHT - 1 - (HEIGHT - 2) * count / most
