"""The spending of fleets, summed over the price segments."""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db.models import F, FloatField, Sum, Value

from pods import price
from pods.costs.columns import SecondsUntil
from pods.models import MICROS, PriceSegment
from pods.price import HOUR_SECONDS

NOTHING: Final = Decimal(0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """Spending in USD, up to a moment."""

    today: Decimal  # since midnight UTC
    total: Decimal


def midnight(now: datetime) -> datetime:
    """The beginning of the budgets' day, in UTC."""
    return now.replace(hour=0, minute=0, second=0, microsecond=0)


def by_midnight(spent_usd: Decimal, hourly_usd: Decimal, now: datetime) -> Decimal:
    """What today (UTC) will have cost, if the pods keep running at their present price."""
    left = midnight(now) + timedelta(days=1) - now
    return spent_usd + price.cost_usd(hourly_usd, left)


def spent(now: datetime, *, fleet_id: int | None = None, besides: int | None = None) -> Spent:
    """The spending of one fleet, of all fleets, or of all fleets `besides` one. Two queries."""
    segments = PriceSegment.objects.all()
    if fleet_id is not None:
        segments = segments.filter(fleet_id=fleet_id)
    if besides is not None:
        segments = segments.exclude(fleet_id=besides)
    begin = midnight(now)
    before = segments.filter(until__lte=begin).aggregate(micros=Sum("cost_micros"))["micros"] or 0
    recent: Sequence[PriceSegment] = list(segments.exclude(until__lte=begin))
    today = sum((s.cost_usd(now, since=begin) for s in recent), Decimal(0))
    whole = sum((s.cost_usd(now) for s in recent), Decimal(0))
    return Spent(today=today, total=Decimal(before) / MICROS + whole)


def archived_today(now: datetime, *, shown: Collection[int]) -> Decimal:
    """What archived fleets spent since midnight UTC, besides the fleets `shown`. One query."""
    begin = midnight(now)
    recent = PriceSegment.objects.exclude(until__lte=begin).filter(fleet__archived_at__isnull=False)
    return sum((s.cost_usd(now, since=begin) for s in recent.exclude(fleet__in=shown)), NOTHING)


def total_by_fleet(now: datetime) -> Mapping[int, Decimal]:
    """What each fleet has spent in its whole life, in USD, to show; the ledger is exact.

    Two queries, which add up in the database: no row of a pod is read.
    """
    closed = PriceSegment.objects.filter(until__isnull=False).order_by().values_list("fleet_id")
    usd: dict[int, float] = defaultdict(float)
    for fleet_id, micros in closed.annotate(micros=Sum("cost_micros")):
        usd[fleet_id] += float(micros / MICROS)
    running = PriceSegment.objects.filter(until__isnull=True).order_by().values_list("fleet_id")
    cost = F("hourly_usd") * SecondsUntil(Value(now), F("since")) / Value(float(HOUR_SECONDS))
    for fleet_id, until_now in running.annotate(usd=Sum(cost, output_field=FloatField())):
        usd[fleet_id] += until_now
    return {fleet_id: Decimal(f"{total:.6f}") for fleet_id, total in usd.items()}


def spent_by_fleet(now: datetime) -> Mapping[int, Spent]:
    """The spending of each fleet. Two queries for any number of fleets."""
    begin = midnight(now)
    today: dict[int, Decimal] = defaultdict(Decimal)
    total: dict[int, Decimal] = defaultdict(Decimal)
    closed = PriceSegment.objects.filter(until__lte=begin).values_list("fleet_id")
    for fleet_id, micros in closed.annotate(micros=Sum("cost_micros")):
        total[fleet_id] += Decimal(micros) / MICROS
    # Not as objects: there may be one for each pod.
    recent = PriceSegment.objects.exclude(until__lte=begin)
    for fleet_id, hourly, since, until in recent.values_list(
        "fleet_id", "hourly_usd", "since", "until"
    ):
        whole = price.cost_usd(hourly, (until or now) - since)
        total[fleet_id] += whole
        today[fleet_id] += (
            whole if since >= begin else price.cost_usd(hourly, (until or now) - begin)
        )
    return {
        fleet_id: Spent(today=today.get(fleet_id, Decimal(0)), total=usd)
        for fleet_id, usd in total.items()
    }
