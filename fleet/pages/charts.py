"""Three drawings above one time axis: items that wait, pods, and what today costs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from itertools import groupby
from typing import Final

from fleet.pages import scales
from fleet.pages.chart_facts import ChartFacts
from pods.base.words import NONE, items, usd
from pods.plural import plural

WIDTH: Final = 1000  # of a drawing; a page stretches it
HEIGHT: Final = 128  # pixels
TOP: Final = 12  # pixels above the highest tick
EDGE: Final = 7  # percent of the width, where the text of a time would be cut off
ROWS: Final = 12  # of a table
LONGEST_NAME: Final = 14
FAR_BUDGET: Final = 4  # times what is spent: such a budget is named and not drawn
LEAST_SAMPLES: Final = 2

Values = Sequence[float | None]
Words = Callable[[float], str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A text at a place of an axis."""

    at: float  # percent of the width, or pixels from the top
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A line: its points where they are known, its look, and its label with a place."""

    style: str  # a class of the stylesheet
    runs: Sequence[str]
    name: str
    short: str
    label_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Area:
    """A filled shape; `hatched`: it may still change."""

    style: str
    outlines: Sequence[str]
    hatched: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """The same figures as text."""

    heads: Sequence[str]
    rows: Sequence[tuple[datetime, Sequence[str]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One drawing."""

    key: str
    title: str
    summary: str
    ticks: Sequence[Mark]
    lines: Sequence[Line]
    areas: Sequence[Area]
    table: Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Charts:
    """The drawings and their time axis."""

    panels: Sequence[Panel]
    times: Sequence[Mark]
    zone: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The values of a line, or of a filled shape."""

    name: str
    values: Values
    style: str


def charts(facts: ChartFacts, zone: tzinfo) -> Charts | None:
    """The drawings; None while there are fewer than two samples, of which no line can be drawn."""
    if facts.samples < LEAST_SAMPLES:
        return None
    return Charts(
        panels=[_waiting(facts), _pods(facts), _spend(facts)],
        times=times(facts.at[0], facts.at[-1], facts.stretch.tick, zone),
        zone=str(zone),
    )


def times(begin: datetime, end: datetime, step: timedelta, zone: tzinfo) -> Sequence[Mark]:
    """The marks of a time axis, without those whose text would be cut off."""
    form = "%a" if step.days else "%H:%M"
    marks = [
        Mark(at=100 * ((moment - begin) / (end - begin)), text=moment.strftime(form))
        for moment in scales.time_ticks(begin, end, step, zone)
    ]
    return [mark for mark in marks if EDGE <= mark.at <= 100 - EDGE]


def _over(facts: ChartFacts) -> str:
    return f"in the last {facts.stretch.words}"


def _waiting(facts: ChartFacts) -> Panel:
    series = [
        Series(name=name, values=values, style=f"pf-line-{n}")
        for n, (name, values) in enumerate(facts.waiting, start=1)
    ]
    if facts.others_count:
        name = plural(facts.others_count, "other")
        series.append(Series(name=name, values=facts.others, style="pf-line-other"))
    return panel(
        "waiting",
        "Items waiting",
        facts.at,
        series,
        over=_over(facts),
        words=lambda v: items(int(v)),
    )


def _pods(facts: ChartFacts) -> Panel:
    billed = Series(name="billed", values=facts.billed, style="pf-line-1")
    ready = Series(name="ready", values=facts.ready, style="pf-line-3")
    return panel(
        "pods", "Pods", facts.at, [billed, ready], over=_over(facts),
        words=lambda v: items(round(v)), filled=[billed],
    )  # fmt: skip


def _spend(facts: ChartFacts) -> Panel:
    total = Series(name="spent", values=[s.usd for s in facts.spent], style="pf-line-1")
    booked = Series(name="booked", values=[s.booked_usd for s in facts.spent], style="pf-line-3")
    series, title = [total, booked], "Spent on each day (UTC)"
    most = max(s.usd for s in facts.spent)
    if facts.budget_usd is not None:
        title = f"{title}, budget {usd(facts.budget_usd)}"
        if facts.budget_usd <= FAR_BUDGET * most:
            budget = [float(facts.budget_usd)] * len(facts.at)
            series.append(Series(name="budget", values=budget, style="pf-line-budget"))
    return panel(
        "spend", title, facts.at, series, over=_over(facts), words=usd, whole=False,
        filled=[booked, total], hatched="spent",
    )  # fmt: skip


def panel(
    key: str,
    title: str,
    at: Sequence[datetime],
    series: Sequence[Series],
    *,
    over: str,
    words: Words,
    whole: bool = True,
    filled: Sequence[Series] = (),
    hatched: str = "",
) -> Panel:
    """One drawing of these series. What is filled stands on what was filled before it.

    `over`: the time in words, such as "in the last 24 h". `whole`: values are counts.
    """
    known = [v for s in series for v in s.values if v is not None]
    ticks = scales.value_ticks(max(known, default=0), whole=whole)
    scale = _Scale(at, ticks[-1])
    ends = [scale.y(next((v for v in reversed(s.values) if v is not None), 0)) for s in series]
    places = scales.spread(ends, lowest=TOP, highest=HEIGHT - 4)
    areas, base = [], None
    for each in filled:
        outlines = scale.outlines(each.values, base)
        areas.append(Area(style=each.style, outlines=outlines, hatched=each.name == hatched))
        base = each.values
    return Panel(
        key=key,
        title=title,
        summary=_summary(f"{title} {over}", series, words),
        ticks=[Mark(at=scale.y(tick), text=words(tick)) for tick in ticks[1:]],
        lines=[
            Line(
                style=s.style, runs=scale.runs(s.values), name=s.name, short=_short(s.name),
                label_at=place,
            )
            for s, place in zip(series, places, strict=True)
        ],
        areas=areas,
        table=_table(at, series, words),
    )  # fmt: skip


class _Scale:
    """Where a moment and a value are in a drawing."""

    def __init__(self, at: Sequence[datetime], most: float) -> None:
        whole = at[-1] - at[0]
        self._x = [WIDTH * ((moment - at[0]) / whole) for moment in at]
        self._most = most

    def y(self, value: float) -> float:
        """Pixels from the top."""
        return HEIGHT - (HEIGHT - TOP) * value / self._most

    def runs(self, values: Values) -> Sequence[str]:
        """The points of each unbroken line."""
        points = list(zip(self._x, values, strict=True))
        return [
            " ".join(f"{x:.1f},{self.y(v):.1f}" for x, v in run if v is not None)
            for is_known, run in groupby(points, key=lambda point: point[1] is not None)
            if is_known
        ]

    def outlines(self, values: Values, base: Values | None) -> Sequence[str]:
        """The shapes between what is known of the values and the base, or the axis."""
        low = [v or 0.0 for v in base] if base is not None else [0.0] * len(values)
        points = list(zip(self._x, values, low, strict=True))
        found = []
        for is_known, run in groupby(points, key=lambda point: point[1] is not None):
            if is_known:
                shape = list(run)
                there = [f"{x:.1f},{self.y(v or 0):.1f}" for x, v, _ in shape]
                back = [f"{x:.1f},{self.y(b):.1f}" for x, _, b in reversed(shape)]
                found.append(" ".join([*there, *back]))
        return found


def _short(name: str) -> str:
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def _text(value: float | None, words: Words) -> str:
    return NONE if value is None else words(value)


def _summary(title: str, series: Sequence[Series], words: Words) -> str:
    """What the drawing shows, for who cannot see it."""
    ends = ", ".join(
        f"{s.name} from {_text(s.values[0], words)} to {_text(s.values[-1], words)}" for s in series
    )
    return f"{title}: {ends}"


def _table(at: Sequence[datetime], series: Sequence[Series], words: Words) -> Table:
    """Some of the moments, the newest first."""
    every = -(-len(at) // ROWS)
    rows = range(len(at) - 1, -1, -every)
    return Table(
        heads=[s.name for s in series],
        rows=[(at[n], [_text(s.values[n], words) for s in series]) for n in rows],
    )
