"""What a fleet's last hours would have been with other settings: the figures and charts of a page."""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from typing import Final

from fleet.comparing import Compared, courses
from fleet.decision.what_if import Course, Moment
from fleet.pages.charts import Charts, Panel, Series, panel, times
from pods.base.words import items, usd

POINTS: Final = 200  # of a chart
MARKS: Final = 6  # on the time axis, about
STEPS: Final = tuple(timedelta(hours=h) for h in (0.25, 0.5, 1, 2, 4, 8, 12, 24, 48, 96, 168))
LEAST_MOMENTS: Final = 2  # of which a line can be drawn
STYLES: Final = ("pf-line-other", "pf-line-3", "pf-line-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One course as figures."""

    name: str
    course: Course
    pod_hours: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What the page shows."""

    rows: Sequence[Row]
    charts: Charts
    each: int  # one of so many decisions was read


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A course at a moment."""

    at: datetime
    depth: int | None
    pods: int
    usd: float  # since the beginning


Value = Callable[[Point], float | None]


def shown(found: Compared, said: str, zone: tzinfo) -> Shown:
    """The figures and charts of the courses; `said`: the other settings."""
    named = courses(found, said)
    short = ["as it was", "model", "changed"]
    points = [
        (name, [_point(moment) for moment in course.moments])
        for name, (_, course) in zip(short, named, strict=False)
    ]
    return Shown(
        rows=[Row(name=n, course=c, pod_hours=f"{c.pod_hours:,.1f}") for n, c in named],
        charts=drawn(points, zone),
        each=found.each,
    )


def _point(moment: Moment) -> Point:
    return Point(
        at=moment.at, depth=moment.depth, pods=moment.pods, usd=float(moment.spent_usd)
    )  # fmt: skip


def drawn(named: Sequence[tuple[str, Sequence[Point]]], zone: tzinfo) -> Charts:
    """Items, pods and money of courses as drawings; the first one says from when until when."""
    first = named[0][1]
    begin, end = first[0].at, first[-1].at
    at = [begin + (end - begin) * n / (POINTS - 1) for n in range(POINTS)]

    def one(key: str, title: str, of: Value, words: Callable[[float], str]) -> Panel:
        series = [
            Series(name=name, values=_values(course, at, of), style=style)
            for (name, course), style in zip(named, STYLES, strict=False)
        ]
        return panel(key, title, at, series, over="in this time", words=words, whole=key != "spent")

    panels = [
        one("waiting", "Items waiting", lambda p: p.depth, lambda v: items(int(v))),
        one("pods", "Pods", lambda p: p.pods, lambda v: items(round(v))),
        one("spent", "Spent since the beginning", lambda p: p.usd, usd),
    ]
    step = next((s for s in STEPS if (end - begin) / s <= MARKS), STEPS[-1])
    return Charts(panels=panels, times=times(begin, end, step, zone), zone=str(zone))


def _values(course: Sequence[Point], at: Sequence[datetime], of: Value) -> list[float | None]:
    """The value at each of these moments: that of the last decision before it."""
    known = [point.at for point in course]
    return [of(course[max(0, bisect_right(known, moment) - 1)]) for moment in at]
