"""The health sweep with a Redis that was emptied, is full, or does not answer."""

import pytest

from pods.models import Pod
from tests.support.world import World

pytestmark = [pytest.mark.django_db, pytest.mark.fault(45)]
PODS = 3


def ready_for_long(world: World) -> list[Pod]:
    """Pods that have been READY for longer than `silent_seconds` and have just sent a heartbeat."""
    pods = [world.booted() for _ in range(PODS)]
    silent_seconds = pods[0].silent_seconds
    world.rig.clock.advance(silent_seconds * 2)
    for pod in pods:
        world.beat(pod)
    world.sweep()
    return pods


def states() -> set[str]:
    return set(Pod.objects.values_list("state", flat=True))


def test_an_emptied_redis_ends_no_pod_before_its_agent_had_time_for_a_heartbeat(
    world: World,
) -> None:
    pods = ready_for_long(world)
    world.redis.flushall()
    world.sweep()
    assert states() == {"ready"}
    world.rig.clock.advance(pods[0].silent_seconds / 2)
    world.sweep()
    assert states() == {"ready"}
    for pod in pods:
        world.beat(pod)
    world.rig.clock.advance(pods[0].silent_seconds)
    world.sweep()
    assert states() == {"ready"}
    assert len(world.living()) == PODS


def test_an_agent_without_heartbeats_after_the_loss_is_still_found_silent(world: World) -> None:
    pods = ready_for_long(world)
    world.redis.flushall()
    world.listen(pods[0].silent_seconds + 1)
    ended = Pod.objects.filter(state="terminating")
    assert ended.count() == 1  # S15: one at a time, the others are not ended now
    assert "no sign of life for" in ended.get().because


def test_a_full_redis_ends_no_pod(world: World) -> None:
    ready_for_long(world)
    world.redis.config_set("maxmemory-policy", "noeviction")
    world.redis.config_set("maxmemory", "1")
    try:
        world.sweep()
    finally:
        world.redis.config_set("maxmemory", "0")
    assert states() == {"ready"}
    assert len(world.living()) == PODS
