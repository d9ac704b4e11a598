"""How a stopped pod comes back, and which pods a resume leaves alone."""

from datetime import timedelta
from itertools import pairwise

import pytest

from pods import lifecycle, resuming, teardown
from pods.agent.protocol import AgentState
from pods.base import clock
from pods.emulators.base import Reply
from pods.models import Pod
from pods.rules import PodRule
from pods.spawning import TRIES
from tests.support.rigs.runpod_rig import ACTION
from tests.support.world import World, state

pytestmark = pytest.mark.django_db


@pytest.fixture
def pod(world: World) -> Pod:
    """A pod that was stopped."""
    made = world.booted()
    teardown.stop_pod(made, by="test", rule=PodRule.OPERATOR, because="x", connect=world.connect)
    world.beat(made, AgentState.DRAINED)
    world.run(120, until=lambda: state(made) == "stopped")
    made.refresh_from_db()
    return made


def starts(world: World) -> int:
    return world.rig.server.calls("POST", ACTION)


def test_a_start_that_is_accepted_and_does_nothing_is_repeated_a_few_times_only(
    world: World, pod: Pod
) -> None:
    world.rig.server.faults.answer("POST", ACTION, Reply(status=204), times=100)
    before = starts(world)
    resuming.begin_resume(pod, by="test", because="x")
    world.run(1800, until=lambda: state(pod) == "terminating")
    assert starts(world) - before == TRIES
    pod.refresh_from_db()
    assert (pod.retire_rule, pod.because) == (
        PodRule.CANNOT_RESUME.value,
        f"did not run after {TRIES} tries to start it",
    )
    world.run(900, until=lambda: state(pod) == "terminated")
    assert world.living() == []


def test_a_pod_that_is_not_resuming_is_not_started(world: World, pod: Pod) -> None:
    before = starts(world)
    resuming.resume_pod(pod.pk, connect=world.connect)
    assert (state(pod), starts(world)) == ("stopped", before)


def test_a_pod_that_another_worker_holds_is_not_started(world: World, pod: Pod) -> None:
    resuming.begin_resume(pod, by="test", because="x")
    before = starts(world)
    with lifecycle.claimed(pod.pk) as held:
        assert held is not None
        resuming.resume_pod(pod.pk, connect=world.connect)
    assert (state(pod), starts(world)) == ("resuming", before)


def test_a_pod_that_does_not_exist_is_left_alone(world: World, pod: Pod) -> None:
    before = starts(world)
    resuming.resume_pod(pod.pk + 1, connect=world.connect)
    assert starts(world) == before


def test_each_look_at_a_pod_that_does_not_run_yet_waits_longer_than_the_one_before(
    world: World, pod: Pod
) -> None:
    world.rig.server.faults.answer("POST", ACTION, Reply(status=204), times=100)
    resuming.begin_resume(pod, by="test", because="x")
    waits = list[timedelta]()
    for _ in range(TRIES):
        resuming.resume_pod(pod.pk, connect=world.connect)
        pod.refresh_from_db()
        assert pod.due_at is not None
        waits.append(pod.due_at - clock.utcnow())
        world.rig.clock.advance(waits[-1].total_seconds())
    assert all(after > before for before, after in pairwise(waits))
