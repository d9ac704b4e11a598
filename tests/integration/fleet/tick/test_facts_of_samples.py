"""What a tick notes of the sample of a quote, and when the sample ends."""

from typing import Any

import pytest
from structlog.testing import capture_logs

from fleet.decision.values import Mode
from fleet.models import Fleet, Limits, Override, SampleRun
from fleet.tick import gathering, samples
from fleet.tick.policies import policy_of
from pods.models import Pod
from pods.states import READY
from tests.support.factories import NOON, a_fleet, a_pod, hours, seconds, snapshot

pytestmark = pytest.mark.django_db
LONG_AGO = NOON - seconds(60)


def a_run(fleet: Fleet, **values: Any) -> SampleRun:
    times = {"began_at": LONG_AGO, "until": NOON + seconds(60)}
    facts = {"items": 100, "by": "ann", "version": fleet.version, "ends_pods": True, **times}
    made: SampleRun = SampleRun.objects.create(fleet=fleet, **{**facts, **values})
    return made


def gathered(fleet: Fleet, *pods: Pod, rate: float | None = None, **values: Any) -> Any:
    return gathering.Gathered(
        seen=snapshot(9, items_per_second=rate),
        policy=policy_of(fleet, Limits.get(), NOON),
        pods={pod.pk: pod for pod in pods},
        depth=None, last_tick_at=None, limits_version=0, **values,
    )  # fmt: skip


@pytest.mark.parametrize("finished", [None, LONG_AGO])
def test_without_a_sample_a_tick_changes_nothing(finished: Any) -> None:
    fleet = a_fleet()
    if finished:
        a_run(fleet, finished_at=finished, done=3)
    seen = gathered(fleet)
    assert samples.watch(fleet, seen) is seen
    assert list(SampleRun.objects.values_list("done", "finished_at")) == (
        [(3, finished)] if finished else []
    )


@pytest.mark.parametrize(
    ("row", "pods", "rate", "stopped", "finished"),
    [
        ({}, 1, None, None, None),  # it goes on
        ({}, 1, 9.0, NOON, None),  # the next tick would find enough
        ({"done": 100}, 1, None, NOON, None),
        ({"until": NOON}, 1, None, NOON, None),
        ({"version": 99}, 1, None, NOON, None),  # the fleet was edited
        ({"until": NOON}, 0, None, NOON, NOON),
        ({"until": NOON, "ends_pods": False}, 1, None, NOON, NOON),
        ({}, 0, None, None, None),  # its pod is not there yet
        ({"stopped_at": LONG_AGO}, 1, None, LONG_AGO, None),
        ({"stopped_at": LONG_AGO}, 0, None, LONG_AGO, NOON),
    ],
)
def test_when_a_sample_ends(
    row: dict[str, Any], pods: int, rate: float | None, stopped: Any, finished: Any
) -> None:
    fleet, other = a_fleet(mode=Mode.PAUSED.value), a_fleet()
    run, others = a_run(fleet, **row), a_run(other)
    samples.watch(fleet, gathered(fleet, *(a_pod(fleet, READY) for _ in range(pods)), rate=rate))
    run.refresh_from_db()
    assert (run.stopped_at, run.finished_at) == (stopped, finished)
    others.refresh_from_db()
    assert (others.stopped_at, others.finished_at, others.done) == (None, None, 0)


def test_a_sample_counts_the_items_of_the_pods_since_it_began() -> None:
    fleet = a_fleet()
    run = a_run(fleet, done=2)
    old = a_pod(fleet, READY, done=50, requested_at=LONG_AGO - seconds(1))
    new = [a_pod(fleet, READY, done=n, requested_at=LONG_AGO) for n in (4, 0, 7)]
    finished = {new[0].pk: 9, new[1].pk: 1, old.pk: 60}  # by the heartbeats; the last pod has none
    seen = gathered(fleet, old, *new, finished=finished)
    assert samples._done(run, seen) == 9 + 1 + 7
    samples.watch(fleet, seen)
    run.refresh_from_db()
    assert run.done == 17


@pytest.mark.parametrize(
    ("meanwhile", "left"),
    [
        ({"stopped_at": LONG_AGO}, {"stopped_at": LONG_AGO, "finished_at": NOON, "done": 5}),
        ({"finished_at": LONG_AGO, "done": 3}, {"finished_at": LONG_AGO, "done": 3}),
    ],
)
def test_what_the_one_who_asked_noted_meanwhile_stays(
    meanwhile: dict[str, Any], left: dict[str, Any]
) -> None:
    fleet = a_fleet()
    run = a_run(fleet, until=NOON, ends_pods=False)
    assert fleet.sample_run == run  # as it was read
    SampleRun.objects.update(**meanwhile)
    samples.watch(fleet, gathered(fleet, a_pod(fleet, READY, done=5, requested_at=NOON)))
    assert SampleRun.objects.values(*left).get() == left


def test_the_policy_is_the_one_that_is_left_after_the_sample() -> None:
    fleet = a_fleet(mode=Mode.PAUSED.value)
    a_run(fleet)
    seen = gathered(fleet)
    assert seen.policy.mode is Mode.RUNNING
    assert samples.watch(fleet, seen).policy.mode is Mode.RUNNING
    SampleRun.objects.update(until=NOON)
    fleet = Fleet.objects.get(pk=fleet.pk)
    left = samples.watch(fleet, seen)
    assert left.policy.mode is Mode.PAUSED


def test_a_sample_that_goes_on_is_not_written_and_its_end_is_logged_once(
    django_assert_num_queries: Any,
) -> None:
    fleet = a_fleet()
    a_run(fleet)
    seen = gathered(fleet, a_pod(fleet, READY))
    with capture_logs() as logs, django_assert_num_queries(2):  # the limits, and a manual hold
        samples.watch(fleet, seen)
    assert logs == []
    SampleRun.objects.update(until=NOON)
    fleet = Fleet.objects.get(pk=fleet.pk)
    with capture_logs() as logs:
        for _ in range(2):
            samples.watch(fleet, seen)
    assert [each["event"] for each in logs] == ["sample_stopped"]


@pytest.mark.parametrize("leaves", [True, False])
def test_a_fleet_that_is_to_be_archived_has_no_settings_that_keep_pods(leaves: bool) -> None:
    fleet = a_fleet(
        min_instances=2, max_instances=3, max_stopped_hours=5, idle_action="stop",
        archive_when_empty=leaves,
    )  # fmt: skip
    seen = policy_of(fleet, Limits.get(), NOON)
    assert (seen.min_instances, seen.idle_stops) == ((0, False) if leaves else (2, True))
    assert seen.max_stopped == hours(0 if leaves else 5)
    fleet.idle_action = "destroy"
    assert not policy_of(fleet, Limits.get(), NOON).idle_stops


@pytest.mark.parametrize(
    ("until", "leaves", "pods"),
    [(NOON + seconds(1), False, 3), (NOON, False, None), (NOON + seconds(1), True, None)],
)
def test_a_manual_hold_counts_until_its_end(until: Any, leaves: bool, pods: int | None) -> None:
    fleet = a_fleet(archive_when_empty=leaves)
    Override.objects.create(fleet=fleet, pods=3, until=until, by="ann", because="x")
    held = policy_of(fleet, Limits.get(), NOON).override
    assert (None if held is None else held.pods) == pods
