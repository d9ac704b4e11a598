"""What Prometheus reads: the state of each fleet, from rows alone, in a fixed number of queries.

Every process of the web server answers alike, because nothing is counted in memory. A number that
nobody knows is left out, so that no rule takes it for 0.
"""

from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal

from django.db.models import Count, OuterRef, Subquery, Sum
from prometheus_client.core import Metric

from fleet.models import Alert, Batch, Fleet, Tick
from fleet.models.batches import ENDED
from fleet.money import spending
from fleet.pages.counted_metrics import counted
from fleet.pages.metric_families import Families
from fleet.pages.overview import FleetCard, Overview, overview
from pods.models import Orphan, Pod
from pods.states import READY


def collect() -> Iterable[Metric]:
    """All metrics of this moment."""
    there, into = overview(), Families()
    for card in there.cards:
        _fleet(into, card)
        _money(into, card)
        _forecast(into, card)
    _decisions(into, [card.pk for card in there.cards])
    _fields(into, [card.pk for card in there.cards])
    _batches(into)
    _work(into, there)
    _spent(into, there)
    _installation(into, there)
    counted(into, {card.pk: card.name for card in there.cards})
    return into.all()


def _fleet(into: Families, card: FleetCard) -> None:
    name = card.name
    into.gauge(
        "podfleet_fleet_health", "1 for the health that the fleet has.", 1,
        fleet=name, health=card.health.health.value,
    )  # fmt: skip
    into.gauge("podfleet_backlog_items", "Items that wait or are in hand.", card.depth, fleet=name)
    for state, count in {READY.value: 0, **dict(card.states)}.items():
        into.gauge("podfleet_pods", "Pods that may bill, by state.", count, fleet=name, state=state)
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


def _money(into: Families, card: FleetCard) -> None:
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


def _forecast(into: Families, card: FleetCard) -> None:
    row = card.forecast
    if row is None or row.because:
        return
    for case, at, usd in (
        ("likely", row.likely_at, row.likely_usd),
        ("sure", row.sure_at, row.sure_usd),
    ):
        into.gauge(
            "podfleet_forecast_done_timestamp_seconds", "When its backlog is done.",
            None if at is None else at.timestamp(), fleet=card.name, case=case,
        )  # fmt: skip
        into.gauge(
            "podfleet_forecast_usd", "USD until then, from the forecast on.",
            None if at is None else usd,
            fleet=card.name, case=case,
        )  # fmt: skip
    into.gauge(
        "podfleet_forecast_on_time_ratio", "The share of the replays that make its deadline.",
        row.on_time, fleet=card.name,
    )  # fmt: skip
    into.gauge(
        "podfleet_forecast_money_ends_ratio",
        "The share of the replays in which a budget ends before the backlog.",
        row.money_ends, fleet=card.name,
    )  # fmt: skip


def _decisions(into: Families, fleets: Sequence[int]) -> None:
    newest = Tick.objects.filter(fleet=OuterRef("pk")).order_by("-at").values("pk")[:1]
    last_ones = Fleet.objects.filter(pk__in=fleets).order_by().annotate(last=Subquery(newest))
    # Two steps: in one, a database would look for the newest one of each row of every fleet.
    pks = [pk for pk in last_ones.values_list("last", flat=True) if pk is not None]
    last = Tick.objects.filter(pk__in=pks).order_by("fleet__name")
    for name, at, desired, target, oldest, took in last.values_list(
        "fleet__name", "at", "desired", "target", "oldest_seconds", "milliseconds"
    ):
        into.gauge(
            "podfleet_last_decision_timestamp_seconds", "When the fleet was last decided on.",
            at.timestamp(), fleet=name,
        )  # fmt: skip
        into.gauge("podfleet_desired_pods", "Pods that its backlog is worth.", desired, fleet=name)
        into.gauge(
            "podfleet_target_pods", "Pods that its guardrails allow of these.", target, fleet=name
        )
        into.gauge(
            "podfleet_oldest_item_seconds", "For how long its oldest item has waited.", oldest,
            fleet=name,
        )  # fmt: skip
        into.gauge(
            "podfleet_last_decision_duration_seconds", "How long the last decision took.",
            took / 1000, fleet=name,
        )  # fmt: skip


def _fields(into: Families, fleets: Sequence[int]) -> None:
    rows = Fleet.objects.filter(pk__in=fleets).order_by("name")
    for name, letters, budget in rows.values_list("name", "dead_letters", "total_budget_usd"):
        into.gauge(
            "podfleet_dead_letters", "Failed items that wait for an operator.", letters, fleet=name
        )
        into.gauge(
            "podfleet_total_budget_usd", "Its budget for its whole life.", budget, fleet=name
        )


def _batches(into: Families) -> None:
    rows = Batch.objects.exclude(status__in=ENDED).order_by().values_list("fleet__name", "status")
    for name, status, count in rows.annotate(count=Count("pk")).order_by("fleet__name", "status"):
        into.gauge(
            "podfleet_unfinished_batches", "Batches that have not ended.", count,
            fleet=name, status=status,
        )  # fmt: skip


def _work(into: Families, there: Overview) -> None:
    """The sums over all pods that a fleet ever had. Their rows are never deleted before the fleet."""
    done = (
        Pod.objects.filter(fleet__in=[card.pk for card in there.cards])
        .order_by()
        .values_list("fleet_id")
        .annotate(
            count=Count("pk"),
            bad=Count("failed_at"),
            items=Sum("done") + Sum("done_before"),
            tries=Sum("failed") + Sum("failed_before"),
            letters=Sum("dead") + Sum("dead_before"),
        )
    )
    counts: dict[int, Sequence[int]] = {pk: numbers for pk, *numbers in done}
    for card in there.cards:
        pods, bad, items, tries, letters = counts.get(card.pk, (0, 0, 0, 0, 0))
        into.counter("podfleet_pods_started", "Pods that it ever asked for.", pods, fleet=card.name)
        into.counter("podfleet_failed_pods", "Pods that failed.", bad, fleet=card.name)
        into.counter("podfleet_items_done", "Items that its pods finished.", items, fleet=card.name)
        into.counter("podfleet_failed_tries", "Tries that failed.", tries, fleet=card.name)
        into.counter(
            "podfleet_failed_items", "Items that failed for good.", letters, fleet=card.name
        )


def _spent(into: Families, there: Overview) -> None:
    spent = spending.total_by_fleet(there.at)
    for card in there.cards:
        # A gauge: a pod that is proved to have ended earlier is booked until then, so it can fall.
        into.gauge(
            "podfleet_spent_usd", "USD of all its pods.", spent.get(card.pk, Decimal(0)),
            fleet=card.name,
        )  # fmt: skip


def _installation(into: Families, there: Overview) -> None:
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
