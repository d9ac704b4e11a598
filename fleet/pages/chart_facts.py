"""The points of the charts: items that wait, pods, and what today costs; from rows, in five queries."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db.models import F, FloatField, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Cast

from fleet.models import Fleet, Limits, Sample, Tick
from fleet.money.spending import midnight
from fleet.pages.seconds import Seconds, WholeSeconds
from pods.models import PriceSegment
from pods.price import HOUR_SECONDS

NAMED: Final = 4  # fleets with a line of their own
CARRIED: Final = 3  # steps for which a fleet without a sample counts as it was


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """A time range, the samples that its charts use, and how far apart its points are."""

    span: timedelta
    grains: tuple[int, ...]
    step: timedelta
    tick: timedelta  # between two marks of the axis
    words: str


STRETCHES: Final[Mapping[str, Stretch]] = {
    "1h": Stretch(
        span=timedelta(hours=1), grains=(0, 1, 2), step=timedelta(minutes=1),
        tick=timedelta(minutes=10), words="1 h",
    ),
    "24h": Stretch(
        span=timedelta(hours=24), grains=(1, 2), step=timedelta(minutes=10),
        tick=timedelta(hours=4), words="24 h",
    ),
    "7d": Stretch(
        span=timedelta(days=7), grains=(2,), step=timedelta(hours=1), tick=timedelta(days=1),
        words="7 d",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a day had cost by a moment: in all, and the part that cannot change any more."""

    usd: float
    booked_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartFacts:
    """What the charts show, at the same moments. Unknown is None."""

    stretch: Stretch
    at: Sequence[datetime]
    waiting: Sequence[
        tuple[str, Sequence[float | None]]
    ]  # by name, those that spent the most first
    others: Sequence[float | None]  # that wait in all other fleets together
    others_count: int
    billed: Sequence[float | None]
    ready: Sequence[float | None]
    spent: Sequence[Spent]
    budget_usd: Decimal | None  # of a day
    samples: int  # moments of which anything is known


def facts(stretch: Stretch, *, fleet: int | None, now: datetime) -> ChartFacts:
    """The points of all fleets together, or of one."""
    asked = Q(archived_at=None) if fleet is None else Q(pk=fleet)
    names = _ranked(Fleet.objects.filter(asked))
    at = _moments(stretch, now)
    depth, pods, ready = _samples(names, stretch, at)
    first = list(names)[:NAMED]
    rest = [pk for pk in names if pk not in first]
    budget = (
        Limits.get().daily_budget_usd
        if fleet is None
        else Fleet.objects.values_list("daily_budget_usd", flat=True).get(pk=fleet)
    )
    billed = _sums(pods.values(), len(at))
    return ChartFacts(
        stretch=stretch,
        at=at,
        waiting=[(names[pk], depth[pk]) for pk in first],
        others=_sums([depth[pk] for pk in rest], len(at)),
        others_count=len(rest),
        billed=billed,
        ready=_sums(ready.values(), len(at)),
        spent=spent_by(_segments(fleet, at[0]), at),
        budget_usd=budget,
        samples=sum(value is not None for value in billed),
    )


def _moments(stretch: Stretch, now: datetime) -> Sequence[datetime]:
    """The moments of the charts: whole steps, and now."""
    seconds = stretch.step.total_seconds()
    last = now - timedelta(seconds=now.timestamp() % seconds)
    count = int(stretch.span / stretch.step)
    found = [last - stretch.step * n for n in range(count, -1, -1)]
    return found if last == now else [*found, now]


def _ranked(fleets: QuerySet[Fleet]) -> Mapping[int, str]:
    """The names of the fleets: those that spent the most today first."""
    newest = Tick.objects.filter(fleet=OuterRef("pk")).order_by("-at")
    ranked = fleets.annotate(
        spent=Subquery(newest.values("spent_today_usd")[:1]),
        waiting=Subquery(newest.values("depth")[:1]),
    ).order_by(F("spent").desc(nulls_last=True), F("waiting").desc(nulls_last=True), "name")
    return dict(ranked.values_list("pk", "name"))


Points = Mapping[int, Sequence[float | None]]


def _samples(
    names: Collection[int], stretch: Stretch, at: Sequence[datetime]
) -> tuple[Points, Points, Points]:
    """The backlog, the pods that bill and the ready ones of each fleet, at these moments."""
    rows = Sample.objects.filter(
        # A list of grains, not a lower bound: each grain is one range of the index.
        fleet__in=list(names), grain__in=stretch.grains, at__gt=at[0] - stretch.step * CARRIED,
    ).order_by("at").values_list(
        "fleet_id", WholeSeconds("at"), "depth", "pods", "ready"
    )  # fmt: skip
    begin, step = int(at[0].timestamp()), int(stretch.step.total_seconds())
    found: dict[int, dict[int, tuple[float | None, ...]]] = defaultdict(dict)
    for fleet, moment, *values in rows:
        found[fleet][-((begin - moment) // step)] = tuple(values)
    carried = {pk: _carried(found[pk], len(at)) for pk in names}
    return tuple(  # type: ignore[return-value]
        {pk: [None if v is None else v[n] for v in carried[pk]] for pk in names} for n in range(3)
    )


def _carried(
    known: Mapping[int, tuple[float | None, ...]], count: int
) -> Sequence[tuple[float | None, ...] | None]:
    """The values at each step: that of the last sample, if it is not older than some steps."""
    shown: list[tuple[float | None, ...] | None] = []
    last, value = -CARRIED - 1, None
    for n in range(-CARRIED, count):
        if n in known:
            last, value = n, known[n]
        if n >= 0:
            shown.append(value if n - last <= CARRIED else None)
    return shown


def _sums(columns: Iterable[Sequence[float | None]], count: int) -> Sequence[float | None]:
    """The sum of what is known at each moment; None where nothing is."""
    found: list[float | None] = [None] * count
    for column in columns:
        for n, value in enumerate(column):
            if value is not None:
                found[n] = (found[n] or 0) + value
    return found


# Since and until (None: it lasts), in seconds since 1970, and USD per hour.
Priced = tuple[float, float | None, float]


def _segments(fleet: int | None, begin: datetime) -> Sequence[Priced]:
    """The prices that counted since the midnight before `begin`."""
    rows = PriceSegment.objects.filter(Q(until=None) | Q(until__gt=midnight(begin)))
    if fleet is not None:
        rows = rows.filter(fleet=fleet)
    usd = Cast("hourly_usd", FloatField())
    return list(rows.values_list(Seconds("since"), Seconds("until"), usd))


def spent_by(segments: Sequence[Priced], at: Sequence[datetime]) -> Sequence[Spent]:
    """What each day (UTC) had cost by these moments. A price that lasts is not booked for good."""
    lasting = _Costs([segment for segment in segments if segment[1] is None])
    ended = _Costs([segment for segment in segments if segment[1] is not None])
    found = []
    for moment in at:
        day = midnight(moment)
        booked = ended.until(moment) - ended.until(day)
        open_usd = lasting.until(moment) - lasting.until(day)
        found.append(Spent(usd=booked + open_usd, booked_usd=booked))
    return found


class _Costs:
    """The cost of some prices until a moment, from sums over their beginnings and ends."""

    def __init__(self, segments: Sequence[Priced]) -> None:
        moves = [(since, usd) for since, _, usd in segments]
        moves += [(until, -usd) for _, until, usd in segments if until is not None]
        self._at: list[float] = []
        self._rate: list[float] = []  # USD per hour from each moment on
        self._cost: list[float] = []  # until each moment
        rate = cost = last = 0.0
        for moment, change in sorted(moves):
            cost += rate * (moment - last) / HOUR_SECONDS
            rate += change
            last = moment
            self._at.append(moment)
            self._rate.append(rate)
            self._cost.append(cost)

    def until(self, moment: datetime) -> float:
        """The cost until then."""
        seconds = moment.timestamp()
        n = bisect_right(self._at, seconds) - 1
        if n < 0:
            return 0.0
        return self._cost[n] + self._rate[n] * (seconds - self._at[n]) / HOUR_SECONDS
