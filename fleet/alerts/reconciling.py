"""Opens, refreshes and ends alerts, and makes deliveries of new ones for the channels."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import structlog
from django.db import transaction
from django.db.models import F, OuterRef, Q, Subquery

from fleet.alerts import delivering, servers
from fleet.decision.alert_facts import (
    AccountSeen,
    AlertFacts,
    Cause,
    FleetSeen,
    ForecastSeen,
    Incident,
    OrphanSeen,
    PodSeen,
    Severity,
    StopSeen,
    TickSeen,
)
from fleet.decision.alerts import alerts
from fleet.decision.values import Mode
from fleet.decision.windows import WINDOW, undecided_since
from fleet.models import Alert, Balance, Channel, Delivery, Fleet, Limits, Tick
from fleet.models.fields import hours_of
from fleet.money import spending
from pods import dispatch
from pods.base.shared_clock import shared_now
from pods.models import Account, Orphan, Pod
from pods.rules import NO_MACHINE_RULES
from pods.states import FAILED, TERMINATING

log = structlog.get_logger(__name__)
# A balance that is older than this begins no alert; neither does it end one.
BALANCE_WITHIN: Final = timedelta(hours=2)
AT_ONCE: Final = 500
# What the rules read of each tick of the window, and what they read of the last tick alone.
SEEN: Final = (
    "at", "depth", "active", "ready", "binding", "items_per_second", "spawned", "ceiling", "risk",
)  # fmt: skip
SAID_LAST: Final = ("failing", "trouble", "all_fail", "all_fail_because")
TickRow = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertChanges:
    """How many alerts changed."""

    opened: int
    resolved: int
    announced: int


def reconcile_alerts() -> AlertChanges:
    """Make the open alerts match the present state; the number of queries is bounded.

    Safe to run twice, at the same time, or to be killed at any line: the database allows one open
    alert for a cause, and one delivery for an announcement.
    """
    now = shared_now()
    found = {(f.cause.value, f.subject): f for f in alerts(gather(now))}
    with transaction.atomic():
        known = {(a.cause, a.subject): a for a in Alert.objects.open()}
        gone = [alert.pk for key, alert in known.items() if key not in found]
        resolved = _resolve(gone, now)
        opened = [_opened(f, now) for key, f in found.items() if key not in known]
        Alert.objects.bulk_create(opened, batch_size=AT_ONCE, ignore_conflicts=True)
        _refresh([(known[key], f) for key, f in found.items() if key in known], now)
        announced = _announce(now)
    if opened or resolved or announced:
        log.info("alerts_changed", opened=len(opened), resolved=resolved, announced=announced)
    send_due(now)
    return AlertChanges(opened=len(opened), resolved=resolved, announced=announced)


def _resolve(pks: Sequence[int], now: datetime) -> int:
    return sum(
        Alert.objects.open().filter(pk__in=pks[n : n + AT_ONCE]).update(resolved_at=now)
        for n in range(0, len(pks), AT_ONCE)
    )


def _opened(incident: Incident, now: datetime) -> Alert:
    return Alert(
        cause=incident.cause.value,
        subject=incident.subject,
        fleet_id=incident.fleet_id,
        severity=incident.severity.value,
        text=incident.text[:600],
        round=incident.round,
        first_seen_at=now,
        last_seen_at=now,
    )


def _refresh(pairs: Sequence[tuple[Alert, Incident]], now: datetime) -> None:
    changed = []
    for alert, incident in pairs:
        text, severity = incident.text[:600], incident.severity.value
        rose = incident.round > alert.round
        if (alert.text, alert.severity) != (text, severity) or rose:
            alert.text, alert.severity = text, severity
            alert.told = alert.told and not rose
            alert.round = max(alert.round, incident.round)
            changed.append(alert)
    Alert.objects.bulk_update(changed, ["text", "severity", "round", "told"], batch_size=AT_ONCE)
    Alert.objects.open().update(last_seen_at=now)


def _announce(now: datetime) -> int:
    """Make a delivery for each channel and each alert that is due for one and not silenced."""
    # A snoozed alert is announced again when the snooze ends, if its cause still lasts.
    Alert.objects.open().filter(snoozed_until__lte=now).update(snoozed_until=None, told=False)
    loud = list(Alert.objects.loud(now).filter(told=False))
    channels = list(Channel.objects.filter(enabled=True))
    deliveries = [
        Delivery(alert=alert, channel=channel, announcement=alert.announcements + 1, due_at=now)
        for alert in loud
        for channel in channels
        if Severity(alert.severity).rank >= Severity(channel.min_severity).rank
    ]
    Delivery.objects.bulk_create(deliveries, batch_size=AT_ONCE, ignore_conflicts=True)
    for alert in loud:
        alert.told, alert.announcements = True, alert.announcements + 1
    Alert.objects.bulk_update(loud, ["told", "announcements"], batch_size=AT_ONCE)
    return len(deliveries)


def send_due(now: datetime) -> None:
    """Send a task for each channel with deliveries that are due; this also replaces lost tasks."""
    waiting = Delivery.objects.filter(
        state__in=[Delivery.State.PENDING, Delivery.State.SENDING], due_at__lte=now
    )
    for channel_id in waiting.values_list("channel", flat=True).distinct():
        dispatch.send(delivering.DELIVER, channel_id)


def gather(now: datetime) -> AlertFacts:
    """Read the facts for the rules; the number of queries is the same for any number of rows."""
    pods = list(Pod.objects.billable().defer("agent", "handler_env"))
    limits = Limits.get()
    spent = spending.spent_by_fleet(now)
    opened = _open_alerts()
    fleets = _fleets(pods, now, spent, opened, limits)
    shown = {f.fleet_id for f in fleets}
    return AlertFacts(
        now=now,
        fleets=fleets,
        pods=[_pod(p, now) for p in pods],
        accounts=_accounts(pods, now, opened),
        orphans=[
            OrphanSeen(orphan_id=o.pk, name=o.name, account=o.account.name, hourly_usd=o.hourly_usd)
            for o in Orphan.objects.filter(gone_at=None).select_related("account")
        ],
        stop=StopSeen(by=limits.mode_by, at=limits.mode_at) if limits.stopped else None,
        installation_budget_usd=limits.daily_budget_usd,
        archived_today_usd=sum(
            (each.today for pk, each in spent.items() if pk not in shown), spending.NOTHING
        ),
    )


def _pod(pod: Pod, now: datetime) -> PodSeen:
    return PodSeen(
        pod_id=pod.pk,
        name=pod.name,
        fleet_id=pod.fleet_id,
        age=pod.age(now),
        hourly_usd=pod.hourly_usd,
        terminating_for=now - pod.state_since if pod.status is TERMINATING else None,
        tries=pod.attempts,
        note=pod.note,
    )


def _open_alerts() -> Mapping[str, Mapping[Cause, Incident]]:
    """The open alerts, by subject and cause."""
    found: dict[str, dict[Cause, Incident]] = defaultdict(dict)
    known = [cause.value for cause in Cause]  # a later version may have known more
    for alert in Alert.objects.open().filter(cause__in=known):
        found[alert.subject][Cause(alert.cause)] = Incident(
            cause=Cause(alert.cause),
            subject=alert.subject,
            severity=Severity(alert.severity),
            text=alert.text,
            fleet_id=alert.fleet_id,
            round=alert.round,
        )
    return found


def _failed_because(ticks: Mapping[int, Sequence[TickRow]]) -> Mapping[int, str]:
    """Why the newest of the pods that failed in a row did, by fleet.

    A snapshot is large, so only those of fleets with such pods are read, and each by its key: within a
    subquery a database may read the snapshots of all ticks before it sorts them.
    """
    wanted = [rows[-1]["pk"] for rows in ticks.values() if rows and rows[-1]["failing"]]
    found = Tick.objects.filter(pk__in=wanted).values_list("fleet", "snapshot__failing")
    return {fleet: (failing or {}).get("because") or "" for fleet, failing in found}


def _of_last(rows: Sequence[TickRow], because: str) -> dict[str, Any]:
    """What the last tick of a fleet says; `because`: why its newest pod failed."""
    if not rows:
        return {}
    said = {name: rows[-1][name] for name in SAID_LAST}
    return {"last_tick_at": rows[-1]["at"], "failing_because": because, **said}


def _fleets(
    pods: Sequence[Pod],
    now: datetime,
    spent: Mapping[int, spending.Spent],
    opened: Mapping[str, Mapping[Cause, Incident]],
    limits: Limits,
) -> list[FleetSeen]:
    fleets = list(
        Fleet.objects.filter(archived_at=None)
        .select_related("schedule__interval", "forecast", "issued_keys")
        .annotate(rows_fail=F("dataset__rows_fail"))
    )
    ticks = _ticks([f.pk for f in fleets], now)
    machines, refusals = _machines(pods, now), _refusals(now)
    evicts, because = servers.evictions(fleets), _failed_because(ticks)
    nothing = spending.Spent(today=spending.NOTHING, total=spending.NOTHING)
    return [
        FleetSeen(
            fleet_id=f.pk,
            name=f.name,
            alert_after=hours_of(f.alert_after_hours),
            period=f.tick_period,
            scheduled=f.schedule is not None and f.schedule.enabled,
            undecided_for=now - _undecided_since(f, ticks[f.pk]),
            max_instances=f.max_instances,
            held={f.mode, limits.mode} != {Mode.RUNNING.value},
            ticks=tuple(_tick(row) for row in ticks[f.pk]),
            **_of_last(ticks[f.pk], because.get(f.pk, "")),
            dead=f.dead_letters,
            rows_fail=f.rows_fail or "",
            **_keys(f, now),
            machines=machines[f.pk],
            refusals=refusals.get(f.pk, ()),
            evicts=evicts[f.pk],
            open=opened.get(f"fleet:{f.pk}", {}),
            spent_today_usd=spent.get(f.pk, nothing).today,
            spent_total_usd=spent.get(f.pk, nothing).total,
            daily_budget_usd=f.daily_budget_usd,
            total_budget_usd=f.total_budget_usd,
            forecast=_forecast(f, now),
        )
        for f in fleets
    ]


def _keys(fleet: Fleet, now: datetime) -> dict[str, Any]:
    """Whether short-lived keys are issued for its pods."""
    row = getattr(fleet, "issued_keys", None)
    if row is None:
        return {}
    since = row.failing_since
    return {
        "keys_fail": row.error,
        "keys_fail_for": timedelta(0) if since is None else now - since,
        "keys_end": row.expires_at,
    }


def _forecast(fleet: Fleet, now: datetime) -> ForecastSeen | None:
    """Its last forecast, if it was made lately and for the present deadline."""
    row = getattr(fleet, "forecast", None)
    if row is None or not row.replays or not row.is_fresh(now):
        return None
    if row.on_time is not None and row.drain_by != fleet.drain_by:
        return None
    return ForecastSeen(
        drain_by=row.drain_by,
        on_time=row.on_time,
        sure_at=row.sure_at,
        money_ends=row.money_ends,
        depth=row.depth,
        left=row.left,
        held_by=row.held_by,
    )


def _ticks(fleets: Sequence[int], now: datetime) -> Mapping[int, Sequence[TickRow]]:
    """The ticks of the window, and the one before it: the window of a slow fleet has one or none.

    The one before is looked for in a query of its own. PostgreSQL estimates the rows of a new table too
    high. It multiplies them over the joins and the subqueries of one query, and spends seconds on
    compiling a query that runs for a millisecond.
    """
    last = Tick.objects.filter(fleet=OuterRef("pk"), at__lte=now - WINDOW).order_by("-at")
    known = Fleet.objects.filter(pk__in=fleets).order_by()
    found = known.annotate(before=Subquery(last.values("pk")[:1])).values_list("before", flat=True)
    before = [*found]  # None where there is none, which is never the key of a tick
    within = Q(fleet__in=fleets, at__gt=now - WINDOW)
    rows = Tick.objects.filter(within | Q(pk__in=before))
    ticks: dict[int, list[TickRow]] = {pk: [] for pk in fleets}
    for row in rows.order_by("at").values("pk", "fleet", *SEEN, "held_back", *SAID_LAST):
        ticks[row["fleet"]].append(row)
    return ticks


def _tick(row: TickRow) -> TickSeen:
    return TickSeen(because=row["held_back"], **{name: row[name] for name in SEEN})


def _undecided_since(fleet: Fleet, ticks: Sequence[TickRow]) -> datetime:
    decided = ticks[-1]["at"] if ticks else None
    return undecided_since(created=fleet.created_at, restored=fleet.restored_at, decided=decided)


def _machines(pods: Sequence[Pod], now: datetime) -> Mapping[int, int]:
    """How many machines each fleet has, or got within the window."""
    got = Pod.objects.filter(booted_at__gt=now - WINDOW).values_list("fleet", "pk")
    have = {(p.fleet_id, p.pk) for p in pods if p.external_id is not None}
    return Counter(fleet_id for fleet_id, _ in have | set(got))


def _refusals(now: datetime) -> Mapping[int, Sequence[str]]:
    """Why the newest pod of each account got no machine within the window, by fleet."""
    failed = Pod.objects.filter(state=FAILED.value, retire_rule__in=NO_MACHINE_RULES)
    rows = failed.filter(external_id=None, state_since__gt=now - WINDOW).order_by("state_since")
    newest = {
        (pod.fleet_id, pod.account_id): f"{pod.account.name}: {pod.because}"
        for pod in rows.select_related("account").only("fleet_id", "account__name", "because")
    }
    by_fleet: dict[int, list[str]] = defaultdict(list)
    for (fleet_id, _), said in newest.items():
        by_fleet[fleet_id].append(said)
    return by_fleet


def _accounts(
    pods: Sequence[Pod], now: datetime, opened: Mapping[str, Mapping[Cause, Incident]]
) -> list[AccountSeen]:
    last = Balance.objects.filter(account=OuterRef("pk")).order_by("-at")
    hourly: dict[int, Decimal] = defaultdict(Decimal)
    for pod in pods:
        hourly[pod.account_id] += pod.hourly_usd
    accounts = Account.objects.filter(enabled=True).defer("offers")
    return [
        AccountSeen(
            account_id=a.pk,
            name=a.name,
            open_until=a.open_until,
            failures=a.failures,
            last_error=a.last_error,
            last_error_kind=a.last_error_kind,
            balance_usd=a.last_usd,
            balance_fresh=a.read_at is not None and a.read_at > now - BALANCE_WITHIN,
            open=opened.get(f"account:{a.pk}", {}),
            hourly_usd=hourly[a.pk],
        )
        for a in accounts.annotate(
            last_usd=Subquery(last.values("usd")[:1]), read_at=Subquery(last.values("at")[:1])
        )
    ]
