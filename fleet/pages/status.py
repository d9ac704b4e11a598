"""The present state of a fleet, as one value: for the command line and the live view."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from fleet.decision.brakes import trouble
from fleet.decision.estimates import time_left
from fleet.decision.fleet_health import FleetHealth, health_of
from fleet.decision.usage import Use, use_of
from fleet.decision.values import PodFacts, Snapshot
from fleet.models import Fleet, FleetForecast, Limits, Tick
from fleet.models.forecasts import FRESH_FOR
from fleet.pages import forecasts, health_facts
from fleet.pages.health_facts import DEAD_ROWS, FAILED_ROWS, PodsThere, SpentNow
from fleet.tick import gathering
from fleet.tick.gathering import Gathered
from pods.base.clock import utcnow
from pods.models import Pod


@dataclass(frozen=True, slots=True, kw_only=True)
class PodStatus:
    """One pod that may bill."""

    name: str
    state: str
    age: timedelta
    hourly_usd: Decimal
    done: int  # items
    items_per_second: float | None
    idle_for: timedelta | None
    in_flight: int | None
    busy_percent: float | None  # the share of the last half minute in which its handler worked
    gpu_percent: float | None
    rtt: timedelta | None
    bottleneck: str
    note: str

    def as_json(self) -> dict[str, Any]:
        """The pod as JSON values."""
        return {
            "name": self.name,
            "state": self.state,
            "age_seconds": self.age.total_seconds(),
            "hourly_usd": str(self.hourly_usd),
            "done": self.done,
            "items_per_second": self.items_per_second,
            "idle_seconds": None if self.idle_for is None else self.idle_for.total_seconds(),
            "in_flight": self.in_flight,
            "busy_percent": self.busy_percent,
            "gpu_percent": self.gpu_percent,
            "rtt_ms": None if self.rtt is None else self.rtt / timedelta(milliseconds=1),
            "bottleneck": self.bottleneck,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetStatus:
    """One fleet at one moment. Unknown is None."""

    name: str
    at: datetime
    health: FleetHealth
    mode: str
    archived_at: datetime | None
    archive_when_empty: bool
    depth: int | None  # items
    depth_estimated: bool
    unknown_because: str
    items_per_second: float | None
    eta: timedelta | None
    pods: Sequence[PodStatus]
    states: Mapping[str, int]
    max_instances: int
    hourly_usd: Decimal
    max_hourly_usd: Decimal | None
    spent_today_usd: Decimal
    spent_total_usd: Decimal
    use: Use | None  # of the ready pods
    trouble: str  # what fails again and again; "": nothing does
    last_decision: str
    code_number: int = 0  # the version of its code; 0: its image has it
    forecast: FleetForecast | None = None  # the last one; None: there is none

    @property
    def mode_text(self) -> str:
        """The mode, and whether the fleet is archived or will be."""
        if self.archived_at is not None:
            return f"archived on {self.archived_at:%F}"
        return f"{self.mode}, archived when empty" if self.archive_when_empty else self.mode

    def as_json(self) -> dict[str, Any]:
        """The status as JSON values: money as text, durations in seconds."""
        return {
            "name": self.name,
            "at": self.at.isoformat(),
            "health": self.health.health.value,
            "health_because": self.health.because,
            "mode": self.mode,
            "archived_at": None if self.archived_at is None else self.archived_at.isoformat(),
            "archive_when_empty": self.archive_when_empty,
            "depth": self.depth,
            "depth_estimated": self.depth_estimated,
            "unknown_because": self.unknown_because,
            "items_per_second": self.items_per_second,
            "eta_seconds": None if self.eta is None else self.eta.total_seconds(),
            "states": dict(self.states),
            "max_instances": self.max_instances,
            "hourly_usd": str(self.hourly_usd),
            "max_hourly_usd": None if self.max_hourly_usd is None else str(self.max_hourly_usd),
            "spent_today_usd": str(self.spent_today_usd),
            "spent_total_usd": str(self.spent_total_usd),
            "busy_percent": None if self.use is None else self.use.busy_percent,
            "gpu_percent": None if self.use is None else self.use.gpu_percent,
            "bottleneck": None if self.use is None else self.use.bottleneck.value,
            "trouble": self.trouble,
            "last_decision": self.last_decision,
            "forecast": forecasts.as_json(self.forecast),
            "pods": [p.as_json() for p in self.pods],
        }


def status_of(fleet: Fleet) -> FleetStatus:
    """The present state of the fleet, from the facts that its next tick would use."""
    now = utcnow()
    gathered = gathering.gather(fleet, now)
    seen = gathered.seen
    tick = Tick.objects.filter(fleet=fleet).order_by("-at").first()
    rate = seen.items_per_second
    return FleetStatus(
        name=fleet.name,
        at=now,
        health=_health(fleet, gathered, tick, now),
        mode=fleet.mode,
        archived_at=fleet.archived_at,
        archive_when_empty=fleet.archive_when_empty,
        depth=seen.depth,
        depth_estimated=seen.depth_estimated,
        unknown_because=seen.unknown_because,
        items_per_second=rate,
        eta=time_left(seen.depth, rate) or None,  # None: no item waits, or it is not known
        pods=[_pod(gathered.pods[f.pod_id], f, now) for f in seen.pods],
        states=Counter(f.state.value for f in seen.pods),
        max_instances=fleet.max_instances,
        hourly_usd=seen.hourly_usd,
        max_hourly_usd=fleet.max_hourly_usd,
        spent_today_usd=seen.spent_today_usd,
        spent_total_usd=seen.spent_total_usd,
        use=use_of(seen),
        trouble="" if seen.depth == 0 else trouble(seen),
        last_decision=tick.sentence if tick else "no decision yet",
        code_number=fleet.code_number,
        forecast=_forecast(fleet, seen, now),
    )


def _forecast(fleet: Fleet, seen: Snapshot, now: datetime) -> FleetForecast | None:
    """The last forecast, if something is left to do. A live view reads it anew."""
    if not seen.depth:
        return None
    return FleetForecast.objects.filter(fleet=fleet, at__gte=now - FRESH_FOR).first()


def _health(fleet: Fleet, gathered: Gathered, tick: Tick | None, now: datetime) -> FleetHealth:
    """The health by the facts of this moment, and by what the last tick decided."""
    seen = gathered.seen
    pods = PodsThere(
        states=Counter(f.state.value for f in seen.pods),
        not_gone=Pod.objects.filter(health_facts.not_gone(now), fleet=fleet).count(),
        hourly_usd=seen.hourly_usd,
        items_per_second=seen.items_per_second,
    )
    failed, dead = Fleet.objects.values_list(FAILED_ROWS, DEAD_ROWS).get(pk=fleet.pk)
    facts = health_facts.health_facts(
        fleet,
        tick,
        pods,
        spent=SpentNow(today=seen.spent_today_usd, total=seen.spent_total_usd),
        limits=Limits.get(),
        causes=health_facts.open_causes([fleet]).get(fleet.pk, {}),
        failed_rows=failed,
        dead_rows=dead,
        now=now,
    )
    live = replace(
        facts,
        depth=seen.depth,
        unknown_because=seen.unknown_because,
        failing=seen.failing.count if seen.failing else 0,
        trouble="" if seen.depth == 0 else trouble(seen),
        all_fail=seen.all_fail,
        all_fail_because=seen.all_fail_because,
    )
    return health_of(live)


def _pod(pod: Pod, facts: PodFacts, now: datetime) -> PodStatus:
    return PodStatus(
        name=pod.name,
        state=pod.state,
        age=pod.age(now),
        hourly_usd=pod.hourly_usd,
        done=pod.done,
        items_per_second=facts.items_per_second,
        idle_for=facts.idle_for,
        in_flight=facts.in_flight,
        busy_percent=None if facts.busy is None else 100 * facts.busy,
        gpu_percent=facts.gpu_percent,
        rtt=facts.rtt,
        bottleneck=facts.bottleneck.value,
        note=pod.note,
    )
