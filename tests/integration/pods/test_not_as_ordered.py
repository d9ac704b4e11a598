"""A machine that lacks what was ordered is ended, and its offer is left alone."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from fleet.decision.placement import Trouble
from fleet.tick import market
from pods.base import clock
from pods.models import Pod, PodEvent
from pods.providers.base import Machine, Phase
from pods.rules import PodRule
from tests.support.world import World, state

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(world: World) -> World:
    # RunPod's document says that a pod has at least 1 GPU; its page on troubleshooting, that it can
    # have 0 (pods/troubleshooting/zero-gpus).
    world.rig.server.checks.clear()
    return world


def test_a_pod_that_comes_back_without_gpus_is_ended_and_an_event_says_what_was_got(
    world: World,
) -> None:
    world.rig.state.gpuless = 1
    pod = world.spawn(world.requested())
    world.run(60)
    world.beat(pod)
    world.sweep()
    pod.refresh_from_db()
    assert (pod.state, pod.retire_rule) == ("terminating", PodRule.NOT_AS_ORDERED)
    assert pod.retire_because == "not as ordered: 0 GPUs instead of 1 GPU"
    event = PodEvent.objects.filter(pod=pod, rule=PodRule.NOT_AS_ORDERED).get()
    assert event.because == pod.retire_because
    assert "ready" not in PodEvent.objects.filter(pod=pod).values_list("after", flat=True)
    world.run(900, until=lambda: state(pod) == "terminated")
    assert world.rig.made() == []


def test_the_offer_that_gave_it_is_left_alone_for_a_while(world: World) -> None:
    world.rig.state.gpuless = 1
    pod = world.spawn(world.requested())
    world.run(60)
    world.sweep()
    known = market.experience(world.fleet, clock.utcnow(), ())
    (failure,) = known.failures
    assert (failure.trouble, failure.key) == (Trouble.REFUSED, pod.offer_key)
    Pod.objects.update(host="h1")
    (failure,) = market.experience(world.fleet, clock.utcnow(), ()).failures
    assert (failure.trouble, failure.host) == (Trouble.BROKEN, "h1")


def test_a_pod_that_loses_its_gpus_later_is_ended_too(world: World) -> None:
    """A stopped pod can come back with 0 GPUs, as RunPod documents."""
    pod = world.booted()
    world.rig.state.pods[str(pod.external_id)].gpuless = True
    world.beat(pod)
    world.sweep()
    pod.refresh_from_db()
    assert (pod.state, pod.retire_rule) == ("terminating", PodRule.NOT_AS_ORDERED)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"gpu_type": "L4"}, "L4 instead of RTX A5000"),
        ({"disk_gb": 10}, "10 GB of disk instead of 40 GB"),
        ({"gpu_count": 0, "phase": Phase.BOOTING}, ""),  # while it boots it may not have all yet
        ({"gpu_count": None, "gpu_type": ""}, ""),
    ],
)
def test_each_vendor_is_held_to_the_order(
    world: World, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], said: str
) -> None:
    pod = world.spawn(world.requested(gpu_type="RTX A5000"))
    world.run(60)
    status = world.provider.status

    def other(external_id: str) -> Machine:
        return replace(status(external_id), **changes)

    monkeypatch.setattr(world.provider, "status", other)
    world.beat(pod)
    world.sweep()
    pod.refresh_from_db()
    assert (pod.retire_rule == PodRule.NOT_AS_ORDERED) is bool(said)
    assert said in pod.retire_because


def test_the_order_of_a_pod_is_not_overwritten_by_what_was_received(world: World) -> None:
    pod = world.spawn(world.requested(gpu_type="H100 SXM"))
    assert pod.gpu_type == "H100 SXM"  # it is an RTX A5000, which the next check finds
    unnamed = world.spawn(world.requested(gpu_type=""))
    assert unnamed.gpu_type == "RTX A5000"


def test_no_pod_of_the_community_is_asked_for_a_data_center(world: World) -> None:
    for _ in range(2):
        world.spawn(world.requested())
    asked = [pod.request for pod in world.rig.state.pods.values()]
    assert Counter((r["cloud"], "dataCenterIds" in r) for r in asked) == {("COMMUNITY", False): 2}
