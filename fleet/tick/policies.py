"""The operator's settings of a fleet and of the installation, as the values of a decision."""

from dataclasses import replace
from datetime import datetime, timedelta

from fleet.decision.sampling import Sampling
from fleet.decision.values import MOST_PODS, MOST_STARTS, Caps, Goal, Mode, Override, Policy
from fleet.models import Fleet, IdleAction, Limits, SampleRun
from fleet.models.fields import hours_of


def policy_of(fleet: Fleet, limits: Limits, now: datetime) -> Policy:
    """The operator's settings of a fleet, as values.

    A fleet that is to be archived keeps no pod for later: neither an idle nor a stopped one.
    """
    leaves = fleet.archive_when_empty
    held = None if leaves else fleet.overrides.filter(until__gt=now).first()
    asked = Policy(
        target_depth_per_pod=fleet.target_depth_per_pod,
        # A row may be older than the limits of its fields.
        min_instances=0 if leaves else min(fleet.min_instances, MOST_PODS),
        max_instances=min(fleet.max_instances, MOST_PODS),
        spawn_per_tick=min(fleet.spawn_per_tick, MOST_STARTS),
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
    return with_sample(asked, getattr(fleet, "sample_run", None), now, fleet.version)


def with_sample(asked: Policy, run: SampleRun | None, now: datetime, version: int) -> Policy:
    """The policy while a quote measures: one pod works, also if the fleet is paused.

    No limit on money is lifted; the budget of a goal becomes one in all. Afterwards the policy is as
    the operator asked, but the pods of a paused fleet end.
    """
    if run is None or run.finished_at is not None:
        return asked
    paused = asked.mode is Mode.PAUSED
    if not run.measures(now, version):
        return replace(asked, sample=Sampling.OVER) if paused and run.ends_pods else asked
    total = [asked.total_budget_usd]
    if asked.goal is Goal.BUDGET and asked.budget_usd is not None:
        total.append(asked.budget_from_usd + asked.budget_usd)
    return replace(
        asked,
        sample=Sampling.MEASURES,
        mode=Mode.RUNNING if paused and run.ends_pods else asked.mode,
        goal=Goal.DEMAND,
        override=None,
        min_instances=0,
        max_instances=min(1, asked.max_instances),
        spawn_per_tick=1,
        total_budget_usd=min((usd for usd in total if usd is not None), default=None),
    )
