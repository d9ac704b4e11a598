"""The operator's settings of a fleet and of the installation, as the values of a decision."""

from datetime import datetime, timedelta

from fleet.decision.values import Caps, Goal, Mode, Override, Policy
from fleet.models import Fleet, IdleAction, Limits
from fleet.models.fields import hours_of


def policy_of(fleet: Fleet, limits: Limits, now: datetime) -> Policy:
    """The operator's settings of a fleet, as values.

    A fleet that is to be archived keeps no pod for later: neither an idle nor a stopped one.
    """
    leaves = fleet.archive_when_empty
    held = None if leaves else fleet.overrides.filter(until__gt=now).first()
    return Policy(
        target_depth_per_pod=fleet.target_depth_per_pod,
        min_instances=0 if leaves else fleet.min_instances,
        max_instances=fleet.max_instances,
        spawn_per_tick=fleet.spawn_per_tick,
        idle_after=timedelta(seconds=fleet.idle_seconds),
        drain_within=timedelta(seconds=fleet.drain_seconds),
        tick=fleet.tick_period,
        max_pod_age=None if fleet.max_pod_hours is None else hours_of(fleet.max_pod_hours),
        idle_stops=fleet.idle_action == IdleAction.STOP and not leaves,
        max_stopped=timedelta(0) if leaves else hours_of(fleet.max_stopped_hours),
        max_hourly_usd=fleet.max_hourly_usd,
        daily_budget_usd=fleet.daily_budget_usd,
        total_budget_usd=fleet.total_budget_usd,
        min_busy_percent=fleet.min_busy_percent,
        tolerated_failure_percent=fleet.tolerated_failure_percent,
        batch_size=fleet.batch_size,
        mode=Mode(fleet.mode),
        goal=Goal(fleet.goal),
        drain_by=fleet.drain_by,
        budget_usd=fleet.budget_usd,
        budget_from_usd=fleet.budget_from_usd,
        override=None
        if held is None
        else Override(pods=held.pods, until=held.until, by=held.by, because=held.because),
        installation=Caps(
            max_instances=limits.max_instances,
            max_hourly_usd=limits.max_hourly_usd,
            daily_budget_usd=limits.daily_budget_usd,
        ),
        installation_mode=Mode(limits.mode),
    )
