"""What Prometheus reads: the state of each fleet, from rows alone, in a fixed number of queries.

Every process of the web server answers alike, because nothing is counted in memory. A number that
nobody knows is left out, so that no rule takes it for 0.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from django.db.models import Count, OuterRef, Subquery, Sum
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from fleet.decision.fleet_health import Health
from fleet.models import Alert, Tick
from fleet.money import spending
from fleet.pages.overview import FleetCard, Overview, overview
from pods.models import Orphan, Pod
from pods.states import BILLABLE

Number = int | float | Decimal | None
STATES: Final = sorted(state.value for state in BILLABLE)


class _Families:
    """Metric families in the order in which they are first named."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def gauge(self, name: str, text: str, value: Number, **labels: str) -> None:
        """Add a sample, unless its value is not known."""
        self._add(GaugeMetricFamily, name, text, value, labels)

    def counter(self, name: str, text: str, value: Number, **labels: str) -> None:
        """Add a sample of a number that only grows; its name gets `_total`."""
        self._add(CounterMetricFamily, name, text, value, labels)

    def _add(
        self, kind: Any, name: str, text: str, value: Number, labels: Mapping[str, str]
    ) -> None:
        family = self.found.setdefault(name, kind(name, text, labels=list(labels)))
        if value is not None:
            family.add_metric(list(labels.values()), float(value))


def collect() -> Iterable[Metric]:
    """All metrics of this moment."""
    there, into = overview(), _Families()
    for card in there.cards:
        _fleet(into, card)
        _money(into, card)
    _decisions(into, [card.pk for card in there.cards])
    _work(into, there)
    _spent(into, there)
    _installation(into, there)
    return list(into.found.values())


def _fleet(into: _Families, card: FleetCard) -> None:
    name = card.name
    for health in Health:
        into.gauge(
            "podfleet_fleet_health", "1 for the health that the fleet has, 0 for the others.",
            int(card.health.health is health), fleet=name, health=health.value,
        )  # fmt: skip
    into.gauge("podfleet_backlog_items", "Items that wait or are in hand.", card.depth, fleet=name)
    there = dict(card.states)
    for state in STATES:
        into.gauge(
            "podfleet_pods", "Pods that may bill, by state.", there.get(state, 0),
            fleet=name, state=state,
        )  # fmt: skip
    into.gauge("podfleet_max_pods", "The fleet's own limit.", card.max_instances, fleet=name)
    into.gauge(
        "podfleet_items_per_second", "Items that its ready pods finish.",
        card.items_per_second, fleet=name,
    )  # fmt: skip
    if card.binding is not None:
        into.gauge(
            "podfleet_held_by", "1 for the rule that keeps it below its wish.", 1,
            fleet=name, rule=card.binding.value,
        )  # fmt: skip


def _money(into: _Families, card: FleetCard) -> None:
    name = card.name
    into.gauge("podfleet_hourly_usd", "USD/hour of its pods now.", card.hourly_usd, fleet=name)
    into.gauge(
        "podfleet_hourly_limit_usd", "Its ceiling in USD/hour.", card.max_hourly_usd, fleet=name
    )
    into.gauge(
        "podfleet_spent_today_usd", "USD since midnight UTC.", card.spent_today_usd, fleet=name
    )
    into.gauge(
        "podfleet_daily_budget_usd",
        "Its budget for a day (UTC).",
        card.daily_budget_usd,
        fleet=name,
    )


def _decisions(into: _Families, fleets: Sequence[int]) -> None:
    newest = Tick.objects.filter(fleet=OuterRef("fleet")).order_by("-at").values("pk")[:1]
    last = Tick.objects.filter(fleet__in=fleets, pk=Subquery(newest)).select_related("fleet")
    for tick in last.defer("steps", "snapshot").order_by("fleet__name"):
        name = tick.fleet.name
        into.gauge(
            "podfleet_last_decision_timestamp_seconds", "When the fleet was last decided on.",
            tick.at.timestamp(), fleet=name,
        )  # fmt: skip
        into.gauge(
            "podfleet_desired_pods", "Pods that its backlog is worth.", tick.desired, fleet=name
        )
        into.gauge(
            "podfleet_target_pods",
            "Pods that its guardrails allow of these.",
            tick.target,
            fleet=name,
        )
        into.gauge(
            "podfleet_oldest_item_seconds", "For how long its oldest item has waited.",
            tick.oldest_seconds, fleet=name,
        )  # fmt: skip


def _work(into: _Families, there: Overview) -> None:
    """The sums over all pods that a fleet ever had. Their rows are never deleted before the fleet."""
    done = (
        Pod.objects.filter(fleet__in=[card.pk for card in there.cards])
        .order_by()
        .values_list("fleet_id")
        .annotate(
            count=Count("pk"),
            items=Sum("done") + Sum("done_before"),
            tries=Sum("failed") + Sum("failed_before"),
            letters=Sum("dead") + Sum("dead_before"),
        )
    )
    counts: dict[int, Sequence[int]] = {pk: numbers for pk, *numbers in done}
    for card in there.cards:
        pods, items, tries, letters = counts.get(card.pk, (0, 0, 0, 0))
        into.counter("podfleet_pods_started", "Pods that it ever asked for.", pods, fleet=card.name)
        into.counter("podfleet_items_done", "Items that its pods finished.", items, fleet=card.name)
        into.counter("podfleet_failed_tries", "Tries that failed.", tries, fleet=card.name)
        into.counter(
            "podfleet_failed_items", "Items that failed for good.", letters, fleet=card.name
        )


def _spent(into: _Families, there: Overview) -> None:
    spent = spending.spent_by_fleet(there.at)
    for card in there.cards:
        whole = spent[card.pk].total if card.pk in spent else Decimal(0)
        # A gauge: a pod that is proved to have ended earlier is booked until then, so it can fall.
        into.gauge("podfleet_spent_usd", "USD of all its pods.", whole, fleet=card.name)


def _installation(into: _Families, there: Overview) -> None:
    limits = there.limits
    into.gauge("podfleet_installation_stopped", "1 if everything is stopped.", int(limits.stopped))
    into.gauge(
        "podfleet_installation_max_pods", "The limit of all fleets together.", limits.max_instances
    )
    into.gauge(
        "podfleet_installation_hourly_limit_usd", "The ceiling in USD/hour of all fleets together.",
        limits.max_hourly_usd,
    )  # fmt: skip
    into.gauge(
        "podfleet_installation_daily_budget_usd", "The budget for a day (UTC) of all fleets together.",
        limits.daily_budget_usd,
    )  # fmt: skip
    into.gauge(
        "podfleet_installation_spent_today_usd", "USD of all fleets since midnight UTC.",
        there.spent_today_usd,
    )  # fmt: skip
    for severity, cause, count in _alerts():
        into.gauge(
            "podfleet_open_alerts", "Alerts whose cause lasts, also the acknowledged ones.", count,
            severity=severity, cause=cause,
        )  # fmt: skip
    into.gauge(
        "podfleet_unknown_machines", "Machines at vendors that belong to no pod.",
        Orphan.objects.filter(gone_at=None).count(),
    )  # fmt: skip


def _alerts() -> Iterator[tuple[str, str, int]]:
    rows = Alert.objects.open().order_by().values_list("severity", "cause")
    yield from rows.annotate(count=Count("pk")).order_by("severity", "cause")
