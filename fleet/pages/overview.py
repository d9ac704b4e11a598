"""The state of all fleets, for the first page: from rows alone, in a fixed number of queries."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.models import Count, F, OuterRef, Q, QuerySet, Subquery, Sum

from fleet.decision.alert_facts import Severity
from fleet.decision.estimates import time_left
from fleet.decision.values import Mode
from fleet.models import Alert, Fleet, Limits, Sample, Tick
from fleet.money import spending
from fleet.money.spending import midnight
from fleet.pages.trouble import Standing, standing
from pods import price
from pods.base.clock import utcnow
from pods.models import Pod
from pods.states import READY, STOPPED, PodState

# After this many periods without a decision, the page shows that a fleet's ticks are late.
LATE_AFTER: Final = 3
ALERTS_SHOWN: Final = 20
FLEETS_CHARTED: Final = 8
# Each time range, and the grains of samples that its chart uses: at most a few hundred points.
STRETCHES: Final[Mapping[str, tuple[timedelta, tuple[int, ...]]]] = {
    "1h": (timedelta(hours=1), (0, 1, 2)),
    "24h": (timedelta(hours=24), (1, 2)),
    "7d": (timedelta(days=7), (2,)),
}
# The order in which the page shows the states of pods.
STATE_ORDER: Final = tuple(s.value for s in PodState)


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetCard:
    """One fleet at one moment. Unknown is None."""

    pk: int
    name: str
    mode: str
    worst: Severity | None  # of its alerts that nobody has answered
    archived: bool
    archive_when_empty: bool
    states: Sequence[tuple[str, int]]
    billable: int
    max_instances: int
    depth: int | None
    eta: timedelta | None
    items_per_second: float
    hourly_usd: Decimal
    max_hourly_usd: Decimal | None
    spent_today_usd: Decimal
    daily_budget_usd: Decimal | None
    sentence: str
    trouble: str  # what fails again and again; "": nothing does
    decided_at: datetime | None
    late: bool

    @property
    def standing(self) -> Standing:
        """How much attention it needs."""
        return standing(
            worst=self.worst,
            late=self.late,
            mode=Mode(self.mode),
            depth=self.depth,
            pods=self.billable,
        )

    @property
    def usd_per_million(self) -> Decimal | None:
        """The cost of a million items at the present price and rate."""
        return price.usd_per_million(self.hourly_usd, self.items_per_second)

    @property
    def ceiling_percent(self) -> int | None:
        """The percentage of the ceiling that is committed."""
        return _percent(self.hourly_usd, self.max_hourly_usd)

    @property
    def budget_percent(self) -> int | None:
        """The percentage of today's budget that is spent."""
        return _percent(self.spent_today_usd, self.daily_budget_usd)


@dataclass(frozen=True, slots=True, kw_only=True)
class Overview:
    """All fleets at one moment, and the alerts that nobody has answered."""

    at: datetime
    cards: Sequence[FleetCard]
    alerts: Sequence[Alert]
    more_alerts: int
    limits: Limits
    archived_today_usd: Decimal  # spent by fleets that are not shown

    @property
    def billable(self) -> int:
        """Pods that may bill."""
        return sum(card.billable for card in self.cards)

    @property
    def hourly_usd(self) -> Decimal:
        """USD/hour of all fleets."""
        return sum((card.hourly_usd for card in self.cards), Decimal(0))

    @property
    def spent_today_usd(self) -> Decimal:
        """USD of all fleets since midnight UTC, also of archived ones."""
        return sum((card.spent_today_usd for card in self.cards), self.archived_today_usd)

    @property
    def stopped(self) -> bool:
        """Whether the whole installation is stopped."""
        return self.limits.mode == Mode.STOP_ALL


@dataclass(frozen=True, slots=True, kw_only=True)
class _Supply:
    """The states, price and rate of a fleet's pods."""

    states: Mapping[str, int]
    hourly_usd: Decimal
    items_per_second: float


def overview() -> Overview:
    """The state of all fleets and their alerts. Six queries.

    Fleets that need attention come first. An archived fleet is shown only if a pod of it may bill.
    """
    now = utcnow()
    supply = _supply()
    newest = Tick.objects.filter(fleet=OuterRef("pk")).order_by("-at").values("pk")[:1]
    fleets = list(
        Fleet.objects.filter(Q(archived_at=None) | Q(pk__in=list(supply)))
        .select_related("schedule__interval")
        .annotate(last_tick=Subquery(newest))
    )
    ticks = (
        Tick.objects.filter(pk__in=[f.last_tick for f in fleets if f.last_tick])
        .defer("steps", "snapshot")
        .in_bulk()
    )
    alerts = Alert.objects.open().select_related("fleet")
    loud = sorted(alerts.loud(now)[:1000], key=_urgency)
    worst = {a.fleet_id: Severity(a.severity) for a in reversed(loud)}
    cards = [
        _card(f, ticks.get(f.last_tick), supply.get(f.pk), worst.get(f.pk), now) for f in fleets
    ]
    return Overview(
        at=now,
        cards=sorted(cards, key=lambda card: (card.standing, card.name)),
        alerts=loud[:ALERTS_SHOWN],
        more_alerts=max(0, len(loud) - ALERTS_SHOWN),
        limits=Limits.get(),
        archived_today_usd=spending.archived_today(now, shown=[f.pk for f in fleets]),
    )


def _urgency(alert: Alert) -> tuple[int, datetime]:
    return -Severity(alert.severity).rank, alert.first_seen_at


def _supply() -> Mapping[int, _Supply]:
    rows = (
        Pod.objects.billable()
        .order_by()
        .values_list("fleet_id", "state")
        .annotate(
            count=Count("pk"),
            usd=Sum("hourly_usd"),
            stopped_usd=Sum("stopped_hourly_usd"),
            rate=Sum("rate"),
        )
    )
    found: dict[int, list[Any]] = defaultdict(list)
    for fleet_id, *row in rows:
        found[fleet_id].append(row)
    return {
        fleet_id: _Supply(
            states={state: count for state, count, *_ in states},
            hourly_usd=sum(
                (off if state == STOPPED.value else usd for state, _, usd, off, _ in states),
                Decimal(0),
            ),
            items_per_second=sum(
                rate or 0 for state, _, _, _, rate in states if state == READY.value
            ),
        )
        for fleet_id, states in found.items()
    }


def _card(
    fleet: Fleet, tick: Tick | None, supply: _Supply | None, worst: Severity | None, now: datetime
) -> FleetCard:
    states = supply.states if supply else {}
    hourly = supply.hourly_usd if supply else Decimal(0)
    rate = supply.items_per_second if supply else 0.0
    depth = tick.depth if tick else None
    return FleetCard(
        pk=fleet.pk,
        name=fleet.name,
        mode=fleet.mode,
        worst=worst,
        archived=fleet.archived_at is not None,
        archive_when_empty=fleet.archive_when_empty,
        states=[(s, states[s]) for s in STATE_ORDER if s in states],
        billable=sum(states.values()),
        max_instances=fleet.max_instances,
        depth=depth,
        eta=time_left(depth, rate) or None,  # None: no item waits, or it is not known
        items_per_second=rate,
        hourly_usd=hourly,
        max_hourly_usd=fleet.max_hourly_usd,
        spent_today_usd=_spent_today(tick, hourly, now),
        daily_budget_usd=fleet.daily_budget_usd,
        sentence=tick.sentence if tick else "no decision yet",
        trouble=tick.trouble if tick else "",
        decided_at=tick.at if tick else None,
        late=fleet.archived_at is None
        and now - (tick.at if tick else fleet.created_at) > LATE_AFTER * fleet.tick_period,
    )


def _spent_today(tick: Tick | None, hourly: Decimal, now: datetime) -> Decimal:
    """The spending that the last tick counted, plus the present price since then."""
    begin = midnight(now)
    if tick is None:
        return Decimal(0)
    counted = tick.spent_today_usd if tick.at >= begin else Decimal(0)
    return counted + price.cost_usd(hourly, now - max(tick.at, begin))


def _percent(part: Decimal, whole: Decimal | None) -> int | None:
    if not whole:
        return None
    return min(int(100 * part / whole), 999)


def series(stretch: str) -> Mapping[str, Any]:
    """The samples of each fleet for charts, oldest first; times in milliseconds since 1970.

    Raises:
        KeyError: `stretch` is not a key of STRETCHES.
    """
    span, grains = STRETCHES[stretch]
    now = utcnow()
    fleets = Fleet.objects.filter(archived_at=None)
    names = _charted(fleets)
    rows = (
        # A list of grains, not a lower bound: each grain is one range of the index.
        Sample.objects.filter(fleet__in=list(names), grain__in=grains, at__gte=now - span)
        .order_by("at")
        .values_list(
            "fleet_id", "at", "depth", "pods", "ready", "items_per_second", "hourly_usd",
            "spent_today_usd",
        )
    )  # fmt: skip
    points: dict[int, list[list[float | int | None]]] = {pk: [] for pk in names}
    for fleet_id, at, depth, pods, ready, rate, hourly, spent in rows:
        points[fleet_id].append(
            [int(at.timestamp() * 1000), depth, pods, ready, rate, float(hourly), float(spent)]
        )
    return {
        "from": int((now - span).timestamp() * 1000),
        "to": int(now.timestamp() * 1000),
        "columns": ["at", "depth", "pods", "ready", "items_per_second", "hourly_usd", "spent"],
        "fleets": [{"name": names[pk], "points": points[pk]} for pk in names],
        "left_out": fleets.count() - len(names),
    }


def _charted(fleets: QuerySet[Fleet]) -> Mapping[int, str]:
    """The names of the fleets that a chart has room for: those that spent the most today come first."""
    newest = Tick.objects.filter(fleet=OuterRef("pk")).order_by("-at")
    ranked = fleets.annotate(
        spent=Subquery(newest.values("spent_today_usd")[:1]),
        waiting=Subquery(newest.values("depth")[:1]),
    ).order_by(F("spent").desc(nulls_last=True), F("waiting").desc(nulls_last=True), "name")
    return dict(ranked.values_list("pk", "name")[:FLEETS_CHARTED])
