"""The spending by fleet, provider, GPU type and UTC day, to the millionth of a dollar.

Money is summed as integers of 1/1,000,000 USD, which no database rounds.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.models import Q, Sum

from fleet.money.spending import by_midnight, midnight, spent_by_fleet
from pods.base.clock import utcnow
from pods.models import MICROS, Pod, PriceSegment
from pods.price import cost_micros

DAY: Final = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class DayCost:
    """The spending of one fleet on one GPU type at one provider in one UTC day."""

    day: date
    fleet: str
    provider: str
    gpu_type: str
    micros: int  # 1/1,000,000 USD

    @property
    def usd(self) -> Decimal:
        """The spending in USD."""
        return Decimal(self.micros) / MICROS


@dataclass(frozen=True, slots=True, kw_only=True)
class DayPart:
    """What a pod cost within one UTC day at one price."""

    since: datetime
    until: datetime
    hourly_usd: Decimal
    micros: int  # 1/1,000,000 USD
    of: tuple[Any, ...]  # the fields that were asked for

    @property
    def day(self) -> date:
        """The day, in UTC."""
        return self.since.astimezone(UTC).date()


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The measured cost of items."""

    micros: int
    items: int

    @property
    def usd_per_million(self) -> Decimal | None:
        """USD for a million items; None before the first item."""
        return Decimal(self.micros) / self.items if self.items else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The spending of a day if the running pods keep running at their present price."""

    spent_usd: Decimal
    hourly_usd: Decimal
    expected_usd: Decimal


def day_costs(first: date, last: date) -> Sequence[DayCost]:
    """The spending from the start of `first` to the end of `last`, or until now. One query."""
    sums: Counter[tuple[date, str, str, str]] = Counter()
    for part in day_parts(first, last, "fleet__name", "pod__provider", "pod__gpu_type"):
        fleet, provider, gpu_type = part.of
        sums[part.day, fleet, provider, gpu_type] += part.micros
    return [
        DayCost(day=day, fleet=fleet, provider=provider, gpu_type=gpu_type, micros=micros)
        for (day, fleet, provider, gpu_type), micros in sorted(sums.items())
    ]


def day_parts(first: date, last: date, *fields: str, **only: Any) -> Iterator[DayPart]:
    """Each segment of these days, cut at midnight (UTC), with these fields of it. One query.

    The parts of a segment add up to its booked cost, as each is the difference of two sums. `only`:
    of which segments, as a filter.
    """
    now = utcnow()
    begin = datetime.combine(first, time(), UTC)
    end = min(datetime.combine(last, time(), UTC) + DAY, now)
    segments = PriceSegment.objects.filter(
        Q(until__isnull=True) | Q(until__gt=begin), since__lt=end, **only
    ).order_by("since", "pk")
    rows = segments.values_list("hourly_usd", "since", "until", "cost_micros", *fields)
    for hourly, since, until, booked, *of in rows.iterator():
        whole = booked if until is not None else cost_micros(hourly, now - since)
        for day, micros in _by_day(hourly, since, until or now, whole):
            if first <= day <= last:
                night = datetime.combine(day, time(), UTC)
                yield DayPart(
                    since=max(since, night),
                    until=min(until or now, night + DAY),
                    hourly_usd=hourly,
                    micros=micros,
                    of=tuple(of),
                )


def _by_day(
    hourly: Decimal, since: datetime, until: datetime, whole: int
) -> Iterator[tuple[date, int]]:
    counted = 0
    night = midnight(since.astimezone(UTC)) + DAY
    while night < until:
        reached = cost_micros(hourly, night - since)
        yield (night - DAY).date(), reached - counted
        counted, night = reached, night + DAY
    yield (night - DAY).date(), whole - counted


def totals(booked: Sequence[DayCost], by: Callable[[DayCost], str]) -> Mapping[str, Decimal]:
    """USD for each value of `by`, the largest sum first."""
    sums: Counter[str] = Counter()
    for cost in booked:
        sums[by(cost)] += cost.micros
    return {key: Decimal(micros) / MICROS for key, micros in sums.most_common()}


def prices(by: str) -> Mapping[str, Price]:
    """The cost of items over the whole life of the pods. Three queries.

    `by` is `fleet__name`, `provider` or `gpu_type`.
    """
    now = utcnow()
    micros: Counter[str] = Counter()
    closed = PriceSegment.objects.filter(until__isnull=False).order_by()
    for key, booked in closed.values_list(f"pod__{by}").annotate(n=Sum("cost_micros")):
        micros[key] += booked
    running = PriceSegment.objects.filter(until__isnull=True)
    for key, hourly, since in running.values_list(f"pod__{by}", "hourly_usd", "since"):
        micros[key] += cost_micros(hourly, now - since)
    items = dict(Pod.objects.order_by().values_list(by).annotate(n=Sum("done")))
    return {
        key: Price(micros=micros[key], items=items.get(key) or 0)
        for key in sorted(micros.keys() | items.keys())
    }


def forecast(now: datetime) -> Mapping[int, Forecast]:
    """The expected spending of today for each fleet that has ever spent. Three queries."""
    hourly: dict[int, Decimal] = {}
    running = PriceSegment.objects.filter(until__isnull=True)
    for fleet_id, price in running.values_list("fleet_id", "hourly_usd"):
        hourly[fleet_id] = hourly.get(fleet_id, Decimal(0)) + price
    return {
        fleet_id: Forecast(
            spent_usd=spent.today,
            hourly_usd=hourly.get(fleet_id, Decimal(0)),
            expected_usd=by_midnight(spent.today, hourly.get(fleet_id, Decimal(0)), now),
        )
        for fleet_id, spent in spent_by_fleet(now).items()
    }
