"""The state of all fleets, for the first page: from rows alone, in a fixed number of queries."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.models import Count, F, OuterRef, Q, Subquery, Sum

from fleet.decision.alert_facts import Severity
from fleet.decision.estimates import pods_for, time_left
from fleet.decision.fleet_health import FleetHealth, Health, health_of
from fleet.decision.values import Mode, Rule
from fleet.models import Alert, Fleet, FleetForecast, Limits, Tick
from fleet.models.fleets import period_of
from fleet.money import spending
from fleet.money.spending import midnight
from fleet.pages import forecasts, health_facts
from fleet.pages.health_facts import DEAD_ROWS, FAILED_ROWS, PodsThere, SpentNow
from pods import price
from pods.base import indexed
from pods.base.clock import utcnow
from pods.models import Pod
from pods.states import READY, STOPPED, PodState

LOUD: Final = frozenset({Severity.WARNING, Severity.CRITICAL})
# What a card needs of its fleet.
READ: Final = (
    "name", "mode", "archived_at", "archive_when_empty", "created_at", "restored_at", "max_instances",
    "target_depth_per_pod", "max_hourly_usd", "daily_budget_usd", "total_budget_usd",
    "dead_letters",
)  # fmt: skip
# And of its last tick.
TICK: Final = (
    "fleet", "at", "depth", "held_back", "failing", "trouble", "all_fail", "all_fail_because",
    "binding", "spent_today_usd", "busy_percent", "gpu_percent", "bottleneck", "sentence", "target",
)  # fmt: skip
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
    busy_percent: float | None  # how much the ready pods worked at the last tick
    gpu_percent: float | None
    bottleneck: str  # what holds most of them back; "": nobody knows
    sentence: str
    trouble: str  # what fails again and again; "": nothing does
    decided_at: datetime | None
    target: int  # pods that the last decision moves towards
    wished: int  # pods that the backlog is worth
    binding: Rule | None  # the rule that kept it below the wish
    health: FleetHealth
    forecast: FleetForecast | None = None  # None: there is none, or it is too old
    alerts: Sequence[Alert] = ()  # that nobody has answered, the most severe first

    @property
    def says_why(self) -> bool:
        """Whether the reason of its health tells more than the word does."""
        plain = {Health.WORKING} if self.billable else {Health.WORKING, Health.IDLE}
        return self.health.health not in plain

    @property
    def why(self) -> str:
        """Why it is not well; why it has this many pods, if it works."""
        return self.health.why(self.sentence)

    @property
    def is_held(self) -> bool:
        """Whether a rule keeps pods away that the items would be worth."""
        return self.mode == Mode.RUNNING.value and bool(self.depth) and self.wished > self.target

    @property
    def done_at(self) -> datetime | None:
        """When the backlog is empty at the present rate, to the minute; None: it is, or nobody knows."""
        if self.eta is None or self.decided_at is None:
            return None
        return (self.decided_at + self.eta).replace(second=0, microsecond=0)

    @property
    def needs_you(self) -> bool:
        """Whether its health or an alert that nobody has answered asks for an operator."""
        return self.health.health.needs_operator or self.worst in LOUD

    @property
    def urgency(self) -> tuple[bool, int, int, str]:
        """The order of the page: what needs an operator first, then by health."""
        severity = self.worst.rank if self.worst else 0
        return not self.needs_you, self.health.health.rank, -severity, self.name

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
    """All fleets at one moment, each with its alerts, and the other alerts."""

    at: datetime
    cards: Sequence[FleetCard]
    apart: Sequence[Alert]  # alerts of no fleet that is shown, which nobody has answered
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
    def expected_usd(self) -> Decimal:
        """USD that today will have cost at midnight UTC, at the present prices."""
        return spending.by_midnight(self.spent_today_usd, self.hourly_usd, self.at)

    @property
    def over_usd(self) -> Decimal | None:
        """USD by which today will pass the installation's budget; None: it will not."""
        budget = self.limits.daily_budget_usd
        over = None if budget is None else self.expected_usd - budget
        return over if over is not None and over > 0 else None

    @property
    def things(self) -> int:
        """How many things need somebody: fleets, and alerts of no fleet."""
        loud = sum(Severity(alert.severity) in LOUD for alert in self.apart)
        return loud + sum(card.needs_you for card in self.cards)


def overview(which: Q | None = None) -> Overview:
    """The state of all fleets and their alerts. Seven queries; nine if a fleet has a total budget.

    Fleets that need attention come first. An archived fleet is shown only if a pod of it may bill, or
    if `which` asks for it.
    """
    now = utcnow()
    pods, limits = _pods(now, which), Limits.get()
    newest = Tick.objects.filter(fleet=OuterRef("pk")).order_by("-at").values("pk")[:1]
    fleets = list(
        Fleet.objects.filter(which or Q(archived_at=None) | Q(pk__in=list(pods)))
        .select_related("forecast")
        .only(*READ, *forecasts.COLUMNS)
        .annotate(
            last_tick=Subquery(newest),
            every=F("schedule__interval__every"),
            unit=F("schedule__interval__period"),
            failed_rows=FAILED_ROWS,
            dead_rows=DEAD_ROWS,
        )
    )
    ticks = Tick.objects.only(*TICK).in_bulk([f.last_tick for f in fleets if f.last_tick])
    loud = sorted(Alert.objects.loud(now)[:1000], key=_urgency)
    of_fleets: dict[int | None, list[Alert]] = defaultdict(list)
    for alert in loud:
        of_fleets[alert.fleet_id].append(alert)
    causes, totals = health_facts.open_causes(fleets), _totals(fleets, now)
    cards = []
    for fleet in fleets:
        tick, there = ticks.get(fleet.last_tick), pods.get(fleet.pk, PodsThere(states={}))
        today = _spent_today(tick, there.hourly_usd, now)
        spent = SpentNow(today=today, total=totals.get(fleet.pk))
        facts = health_facts.health_facts(
            fleet, tick, there, spent=spent, limits=limits, causes=causes.get(fleet.pk, {}), now=now,
            failed_rows=fleet.failed_rows, dead_rows=fleet.dead_rows,
            period=period_of(fleet.every, fleet.unit),
        )  # fmt: skip
        about = of_fleets.pop(fleet.pk, [])
        cards.append(_card(fleet, tick, there, today, health_of(facts), about, now))
    return Overview(
        at=now,
        cards=sorted(cards, key=lambda card: card.urgency),
        apart=[alert for alert in loud if alert.fleet_id in of_fleets],
        limits=limits,
        archived_today_usd=spending.archived_today(now, shown=[f.pk for f in fleets]),
    )


def _urgency(alert: Alert) -> tuple[int, datetime, int]:
    return -Severity(alert.severity).rank, alert.first_seen_at, alert.pk


def _totals(fleets: Sequence[Fleet], now: datetime) -> Mapping[int, Decimal]:
    """What each fleet has spent in all, if one of them has a budget for that."""
    if all(fleet.total_budget_usd is None for fleet in fleets):
        return {}
    return spending.total_by_fleet(now)


def _pods(now: datetime, which: Q | None) -> Mapping[int, PodsThere]:
    """The pods that may bill, of all fleets, or of those that are asked for: a page has some of many."""
    there = Pod.objects.filter(indexed.may_bill())
    if which is not None:
        there = there.filter(fleet__in=Fleet.objects.filter(which).order_by().values("pk"))
    rows = (
        there.order_by()
        .values_list("fleet_id", "state")
        .annotate(
            count=Count("pk"),
            usd=Sum("hourly_usd"),
            stopped_usd=Sum("stopped_hourly_usd"),
            rate=Sum("rate"),
            not_gone=Count("pk", filter=health_facts.not_gone(now)),
        )
    )
    found: dict[int, list[Any]] = defaultdict(list)
    for fleet_id, *row in rows:
        found[fleet_id].append(row)
    return {
        fleet_id: PodsThere(
            states={state: count for state, count, *_ in states},
            not_gone=sum(gone for *_, gone in states),
            hourly_usd=sum(
                (off if state == STOPPED.value else usd for state, _, usd, off, *_ in states),
                Decimal(0),
            ),
            items_per_second=sum(
                rate or 0 for state, _, _, _, rate, _ in states if state == READY.value
            ),
        )
        for fleet_id, states in found.items()
    }


def _card(
    fleet: Fleet,
    tick: Tick | None,
    pods: PodsThere,
    spent_today_usd: Decimal,
    health: FleetHealth,
    alerts: Sequence[Alert],
    now: datetime,
) -> FleetCard:
    depth, rate = tick.depth if tick else None, pods.items_per_second or 0.0
    return FleetCard(
        pk=fleet.pk,
        name=fleet.name,
        mode=fleet.mode,
        worst=Severity(alerts[0].severity) if alerts else None,
        alerts=alerts,
        health=health,
        forecast=forecasts.forecast_of(fleet, now) if tick and tick.depth else None,
        archived=fleet.archived_at is not None,
        archive_when_empty=fleet.archive_when_empty,
        states=[(s, pods.states[s]) for s in STATE_ORDER if s in pods.states],
        billable=sum(pods.states.values()),
        max_instances=fleet.max_instances,
        depth=depth,
        eta=time_left(depth, rate) or None,  # None: no item waits, or it is not known
        items_per_second=rate,
        hourly_usd=pods.hourly_usd,
        max_hourly_usd=fleet.max_hourly_usd,
        spent_today_usd=spent_today_usd,
        daily_budget_usd=fleet.daily_budget_usd,
        busy_percent=tick.busy_percent if tick else None,
        gpu_percent=tick.gpu_percent if tick else None,
        bottleneck=tick.bottleneck if tick else "",
        sentence=tick.sentence if tick else "no decision yet",
        trouble=tick.trouble if tick else "",
        decided_at=tick.at if tick else None,
        target=tick.target if tick else 0,
        wished=pods_for(tick.depth or 0, fleet.target_depth_per_pod) if tick else 0,
        binding=health_facts.rule_named(tick.binding) if tick else None,
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
