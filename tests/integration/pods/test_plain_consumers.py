"""A user's own consumer, named after its pod and without a heartbeat, lives and ends like an agent."""

from datetime import timedelta

import pytest

from fleet import snapshot
from fleet.decision.values import PodFacts
from pods.models import Pod
from tests.integration.pods.test_ends_and_health import state
from tests.integration.pods.world import World

pytestmark = pytest.mark.django_db
STREAM = GROUP = "embedding_tasks"


def read(world: World, pod: Pod) -> list[bytes]:
    """What the pod's consumer gets; it asks even where there is nothing."""
    found = world.redis.xreadgroup(GROUP, pod.name, {STREAM: ">"})
    return [entry for entry, _ in found[0][1]] if found else []


def facts_of(world: World, pod: Pod) -> PodFacts:
    gathered = snapshot.gather(world.fleet, now=world.rig.clock())
    return next(p for p in gathered.seen.pods if p.pod_id == pod.pk)


@pytest.fixture
def pod(world: World) -> Pod:
    world.redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    pod = world.spawn(world.requested())
    world.run(60)
    world.sweep()
    assert state(pod) == "booting"
    return pod


def test_its_first_read_makes_the_pod_ready(world: World, pod: Pod) -> None:
    read(world, pod)
    world.sweep()
    assert state(pod) == "ready"
    assert "its consumer reads the backlog" in Pod.objects.get(pk=pod.pk).because


def test_as_long_as_it_asks_it_lives_and_then_it_does_not(world: World, pod: Pod) -> None:
    read(world, pod)
    world.sweep()
    world.rig.clock.advance(200)
    world.sweep()
    assert state(pod) == "ready"
    world.redis.xgroup_delconsumer(STREAM, GROUP, pod.name)
    world.sweep()
    assert state(pod) == "terminating"


def test_it_is_busy_with_items_pending_and_idle_after_the_last(world: World, pod: Pod) -> None:
    read(world, pod)
    world.sweep()
    world.rig.clock.advance(30)
    seen = facts_of(world, pod)
    assert (seen.in_flight, seen.idle_for) == (0, timedelta(seconds=30))  # it never got one
    world.redis.xadd(STREAM, {"payload": "x"})
    [entry] = read(world, pod)
    seen = facts_of(world, pod)
    assert (seen.in_flight, seen.idle_for) == (1, None)
    world.redis.xack(STREAM, GROUP, entry)
    seen = facts_of(world, pod)
    assert seen.in_flight == 0
    assert seen.idle_for is not None
    assert seen.idle_for < timedelta(seconds=20)
    assert snapshot.gather(world.fleet, now=world.rig.clock()).seen.proven
