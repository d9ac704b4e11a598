"""Makes the forecasts of fleets, and keeps the last one of each."""

import time
from copy import copy
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import structlog
from django.db.models import F, OuterRef, Q, QuerySet, Subquery

from fleet.decision import placement
from fleet.decision.outlook import NoOutlook, NoSpeed, Outlook, outlook
from fleet.decision.placement import Experience
from fleet.decision.spells import History
from fleet.decision.values import Goal, Mode, Policy, Snapshot
from fleet.models import Fleet, FleetForecast, Limits, Tick
from fleet.tick import gathering, market, wishes
from fleet.tick.history import history_of
from fleet.tick.policies import policy_of
from pods.base.shared_clock import shared_now
from pods.models import Account, Pod

log = structlog.get_logger(__name__)
# Between two forecasts of a fleet. Each takes a second or two of one processor.
EVERY: Final = timedelta(minutes=5)
# One without a result, or for another deadline, is made again by the next run, a minute later.
SOON: Final = timedelta(seconds=30)
# For how long one run makes forecasts. It takes one process of the vendor worker for that time, so a
# call to a vendor may wait for it where the worker has a single process.
LONGEST: Final = timedelta(seconds=8)
LONGEST_REASON: Final = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a forecast is made of."""

    seen: Snapshot
    policy: Policy
    history: History
    known: Experience


def forecast_fleets(*, longest: timedelta = LONGEST) -> int:
    """Make the forecasts that are due, those first that waited longest; return how many.

    Safe to run twice, at the same time, or to be killed at any line. A fleet without work has none.
    """
    now, end = shared_now(), time.monotonic() + longest.total_seconds()
    busy = _busy()
    FleetForecast.objects.exclude(fleet__in=busy).delete()
    due = busy.filter(_is_due(now))
    made = 0
    for fleet in due.order_by(F("forecast__at").asc(nulls_first=True), "pk"):
        forecast_fleet(fleet)
        made += 1
        if time.monotonic() > end:
            break
    return made


def _is_due(now: datetime) -> Q:
    row, deadline = Q(forecast__at__lt=now - SOON), Q(forecast__drain_by=F("drain_by"))
    both_without = Q(forecast__drain_by=None, drain_by=None)
    old = Q(forecast__replays=0) | ~(deadline | both_without)
    return Q(forecast=None) | Q(forecast__at__lt=now - EVERY) | (row & old)


def _busy() -> QuerySet[Fleet]:
    """The fleets that run and have a backlog, as their last tick saw it."""
    if Limits.get().mode != Mode.RUNNING.value:
        return Fleet.objects.none()
    last = Tick.objects.filter(fleet=OuterRef("pk")).order_by("-at").values("depth")[:1]
    running = Fleet.objects.filter(archived_at=None, mode=Mode.RUNNING.value)
    return running.alias(last_depth=Subquery(last)).filter(last_depth__gt=0)


def forecast_fleet(fleet: Fleet) -> FleetForecast:
    """Make the forecast of a fleet and keep it."""
    began, now = time.monotonic(), shared_now()
    values: dict[str, object] = {}
    try:
        facts = facts_of(fleet, now)
        values |= {"depth": facts.seen.depth or 0, "drain_by": fleet.drain_by}
        values |= _columns(outlook(facts.seen, facts.policy, facts.history))
    except (NoOutlook, ValueError) as exc:
        values["because"] = str(exc)[:LONGEST_REASON]
        values["lacks_speed"] = isinstance(exc, NoSpeed)
    except Exception as exc:  # the row says it, so the other fleets have their turn
        log.exception("forecast_failed", fleet=fleet.name)
        values["because"] = f"the forecast failed: {type(exc).__name__}"
    values["milliseconds"] = int((time.monotonic() - began) * 1000)
    fields = {f.name: f.get_default() for f in FleetForecast._meta.concrete_fields}
    for name in ("id", "fleet", "at"):
        fields.pop(name)
    row, _ = FleetForecast.objects.update_or_create(
        fleet=fleet, defaults={**fields, **values, "at": now}
    )
    log.info("fleet_forecast", fleet=fleet.name, milliseconds=row.milliseconds)
    return row


def _columns(found: Outlook) -> dict[str, object]:
    return {
        "likely_at": found.likely_at,
        "sure_at": found.sure_at,
        "likely_usd": found.likely_usd,
        "sure_usd": found.sure_usd,
        "pods": found.pods,
        "pod_hours": found.likely_pod_hours,
        "on_time": found.on_time,
        "money_ends": found.money_ends,
        "left": found.left,
        "held_by": "" if found.held_by is None else found.held_by.value,
        "days": found.days,
        "replays": found.replays,
    }


def facts_of(fleet: Fleet, now: datetime) -> Facts:
    """The facts of a fleet that a forecast reads: those of a tick, all offers, and their history.

    Raises:
        ValueError: its offer_query is wrong.
    """
    # Every goal but demand reads offers of both kinds, boots, losses and arrivals.
    asked = copy(fleet)
    asked.goal = Goal.CHEAPEST.value
    seen = gathering.gather(asked, now).seen
    wish = wishes.wanted(fleet)
    accounts = list(fleet.accounts.order_by("pk"))
    known = _experience(fleet, accounts, now)
    supply = market.offers_for(asked, now, known, accounts=accounts)
    seen = replace(seen, offers=supply.offers, no_offers_because=supply.because, lacks=supply.lacks)
    policy = policy_of(fleet, Limits.get(), now)
    history = history_of(accounts, seen.offers, wish, known, now)
    return Facts(seen=seen, policy=policy, history=history, known=known)


def _experience(fleet: Fleet, accounts: list[Account], now: datetime) -> Experience:
    """The fleet's experience, as if every kind of GPU had worked: a first pod will have shown it."""
    pods = list(Pod.objects.filter(fleet=fleet).billable())
    known = market.experience(fleet, now, pods)
    offers = market.offers_of(accounts, disk_gb=fleet.disk_gb)
    return replace(known, proven=known.proven | {placement.kind_of(offer) for offer in offers})
