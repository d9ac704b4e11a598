"""A fleet's settings as a policy: while it is to be archived, and while a quote measures."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fleet.decision.sampling import Sampling
from fleet.decision.values import Goal, Mode, Override, Policy
from fleet.models import Fleet, IdleAction, Limits, SampleRun
from fleet.tick.policies import policy_of, with_sample
from tests.support.factories import NOON, hours, policy, seconds


def test_a_fleet_that_is_to_be_archived_keeps_no_pod_for_later() -> None:
    fleet = Fleet(
        archive_when_empty=True, min_instances=2, max_stopped_hours=5, idle_action=IdleAction.STOP
    )
    seen = policy_of(fleet, Limits(), NOON)
    assert (seen.min_instances, seen.max_stopped, seen.idle_stops) == (0, timedelta(0), False)
    assert seen.override is None


@pytest.mark.parametrize(("given", "seen"), [(None, None), (2, hours(2))])
def test_a_pod_has_a_longest_age_only_if_the_fleet_has_one(given: Any, seen: Any) -> None:
    fleet = Fleet(archive_when_empty=True, max_pod_hours=given)
    assert policy_of(fleet, Limits(), NOON).max_pod_age == seen


def a_run(**values: Any) -> SampleRun:
    times = {"began_at": NOON - seconds(9), "until": NOON + seconds(9)}
    return SampleRun(**{"items": 5, "version": 3, "ends_pods": True, **times, **values})


ASKED: Policy = policy(
    max_instances=4,
    min_instances=2,
    spawn_per_tick=3,
    override=Override(pods=3, until=NOON, by="ann", because="x"),
)


@pytest.mark.parametrize("run", [None, a_run(finished_at=NOON)])
def test_without_a_sample_the_policy_is_as_the_operator_asked(run: SampleRun | None) -> None:
    paused = replace(ASKED, mode=Mode.PAUSED)
    assert with_sample(paused, run, NOON, 3) == paused


@pytest.mark.parametrize("most", [4, 0])
def test_while_a_quote_measures_one_pod_works(most: int) -> None:
    seen = with_sample(replace(ASKED, max_instances=most), a_run(), NOON, 3)
    assert (seen.sample, seen.goal, seen.override) == (Sampling.MEASURES, Goal.DEMAND, None)
    assert (seen.min_instances, seen.max_instances) == (0, min(1, most))
    assert (seen.spawn_per_tick, seen.total_budget_usd) == (1, None)


@pytest.mark.parametrize("over", [{"version": 2}, {"until": NOON}, {"stopped_at": NOON}])
@pytest.mark.parametrize(
    ("mode", "ends_pods", "ends"),
    [
        (Mode.PAUSED, True, True),
        (Mode.PAUSED, False, False),
        (Mode.RUNNING, True, False),
        (Mode.STOP_ALL, True, False),
    ],
)
def test_after_a_sample_the_pods_of_a_paused_fleet_end(
    over: dict[str, Any], mode: Mode, ends_pods: bool, ends: bool
) -> None:
    asked = replace(ASKED, mode=mode)
    seen = with_sample(asked, a_run(ends_pods=ends_pods, **over), NOON, 3)
    assert seen == (replace(asked, sample=Sampling.OVER) if ends else asked)


@pytest.mark.parametrize(
    ("mode", "ends_pods", "runs"),
    [
        (Mode.PAUSED, True, Mode.RUNNING),
        (Mode.PAUSED, False, Mode.PAUSED),
        (Mode.STOP_ALL, True, Mode.STOP_ALL),
        (Mode.RUNNING, True, Mode.RUNNING),
    ],
)
def test_a_sample_runs_a_paused_fleet_and_ends_no_stop(
    mode: Mode, ends_pods: bool, runs: Mode
) -> None:
    seen = with_sample(replace(ASKED, mode=mode), a_run(ends_pods=ends_pods), NOON, 3)
    assert seen.mode is runs


@pytest.mark.parametrize(
    ("goal", "budget", "total", "most"),
    [
        (Goal.BUDGET, 5, None, 7),  # 2 were spent before
        (Goal.BUDGET, 5, 6, 6),
        (Goal.BUDGET, 5, 9, 7),
        (Goal.BUDGET, None, 9, 9),
        (Goal.DEMAND, 5, None, None),
        (Goal.DEMAND, 5, 9, 9),
    ],
)
def test_the_budget_of_a_goal_holds_while_a_quote_measures(
    goal: Goal, budget: int | None, total: int | None, most: int | None
) -> None:
    asked = replace(
        ASKED,
        goal=goal,
        budget_usd=None if budget is None else Decimal(budget),
        budget_from_usd=Decimal(2),
        total_budget_usd=None if total is None else Decimal(total),
    )
    assert with_sample(asked, a_run(), NOON, 3).total_budget_usd == most
