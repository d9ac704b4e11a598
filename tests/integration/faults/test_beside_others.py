"""Faults in which another party acts meanwhile: the vendor, an agent, another task, a deploy."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import redis
import time_machine

from fleet import adopting, operating
from fleet.models import Fleet, Tick
from fleet.tick import requesting, ticking
from pods import lifecycle, reconciling, teardown
from pods.agent.control import Control
from pods.agent.heartbeat import Beating
from pods.agent.progress import Progress
from pods.agent.protocol import AgentSettings, AgentState
from pods.agent_redis import heartbeats
from pods.base import clock
from pods.models import Pod, PriceSegment
from pods.providers.base import Provider
from pods.rules import PodRule
from pods.states import READY, TERMINATED, TERMINATING
from tests.support.factories import a_fleet, a_pod, an_account
from tests.support.world import World, state

pytestmark = pytest.mark.django_db
OFFER = {"key": "local", "hourly_usd": "0.5", "stopped_hourly_usd": "0", "remaining": None}


@pytest.mark.fault(11)
def test_a_price_that_rose_between_offer_and_rent_counts_from_the_first_sweep_on(
    world: World,
) -> None:
    pod = world.requested()
    offered = pod.hourly_usd
    for gpu in world.rig.state.catalog:
        gpu.secure_usd, gpu.community_usd = gpu.secure_usd * 3, gpu.community_usd * 3
    world.spawn(pod)
    world.run(60)
    world.beat(pod)
    world.sweep()
    pod.refresh_from_db()
    assert pod.hourly_usd == offered * 3
    world.run(3600)
    world.beat(pod)
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    world.run(900, until=lambda: state(pod) == "terminated")
    ours = sum(s.cost_micros for s in PriceSegment.objects.filter(pod=pod)) / 1_000_000
    theirs = float(world.rig.state.bill.total(str(pod.external_id), now=world.rig.clock()))
    # Until the first sweep it counted at the offer's price.
    assert theirs - ours <= float(offered) * 2 * 75 / 3600


@pytest.mark.fault(21)
def test_a_vendors_word_that_a_machine_is_gone_counts_after_its_window_although_the_agent_beats(
    world: World,
) -> None:
    pod = world.booted()
    world.rig.state.delete(str(pod.external_id))
    window = world.provider.capabilities.consistency_window.total_seconds()
    for _ in range(int(window // 30)):
        world.beat(pod)
        world.sweep()
        assert state(pod) == "ready"
        world.rig.clock.advance(30)
    world.rig.clock.advance(60)
    world.beat(pod)
    world.sweep()
    world.beat(pod)  # the agent continues, but nobody uses its work any more
    world.run(900, until=lambda: state(pod) in {"lost", "terminated"})
    assert world.redis.exists(f"podfleet:emb:pod:{pod.name}:fence")
    assert world.living() == []


@pytest.mark.fault(31)
@pytest.mark.parametrize("wrong", [timedelta(minutes=-10), timedelta(minutes=10)])
def test_the_heartbeat_of_an_agent_whose_clock_is_ten_minutes_off_counts_as_new(
    world: World, wrong: timedelta, redis_url: str
) -> None:
    pod = world.booted()
    world.redis.delete(f"podfleet:emb:pod:{pod.name}")
    settings = AgentSettings(redis_url=redis_url, pod=pod.name, **pod.agent)
    with time_machine.travel(clock.utcnow() + wrong):
        agent = Beating(settings, Progress(), NothingInHand(), Control())
        agent.start()
        agent.close(AgentState.WORKING)
    assert heartbeats.read([pod]).beats[pod.pk].age < timedelta(seconds=30)
    world.sweep()
    assert state(pod) == "ready"


class NothingInHand:
    def __len__(self) -> int:
        return 0

    def idle_ms(self) -> int:
        return 1

    def held_ms(self) -> int:
        return 0

    def oldest_ms(self) -> int:
        return 0


@pytest.mark.fault(38)
def test_items_that_arrive_while_the_last_pod_drains_wait_until_it_is_gone(redis_url: str) -> None:
    account = an_account(offers=[OFFER], surveyed_at=clock.utcnow())
    fleet = a_fleet(accounts=[account], max_instances=1, target_depth_per_pod=1, stream="late")
    Fleet.objects.filter(pk=fleet.pk).update(proven_template=requesting.template_hash(fleet))
    operating.make_group(fleet)
    pod = a_pod(fleet, READY)
    teardown.retire_pod(pod, by="tick", rule=PodRule.OPERATOR, because="idle")
    client = redis.Redis.from_url(redis_url, protocol=2)
    for n in range(50):
        client.xadd("late", {"payload": str(n)})
    for _ in range(3):
        ticking.tick_fleet(fleet.pk)
    assert (
        state(pod) == "draining"
    )  # the drain is not taken back: the agent may have read the command
    assert fleet.pods.count() == 1
    decided = Tick.objects.filter(fleet=fleet).order_by("-pk")[0]
    assert (decided.depth, decided.spawned) == (50, 0)
    pod.refresh_from_db()
    for to in (TERMINATING, TERMINATED):
        lifecycle.move(pod, to, by="test", because="it has drained")
    ticking.tick_fleet(fleet.pk)
    assert [p.state for p in fleet.pods.billable()] == ["requested"]


@pytest.mark.fault(40)
def test_an_item_taken_between_the_decision_and_the_drain_command_is_finished_first(
    world: World,
) -> None:
    pod = world.booted()
    world.beat(pod, idle_ms=600_000)
    teardown.retire_pod(pod, by="tick", rule=PodRule.OPERATOR, because="idle for 600 s")
    world.beat(pod, AgentState.WORKING, in_flight=1)  # it took an item before it read the command
    world.run(20)
    assert state(pod) == "draining"
    assert len(world.living()) == 1
    world.beat(pod, AgentState.DRAINING, in_flight=1)
    world.run(20)
    assert len(world.living()) == 1
    world.beat(pod, AgentState.DRAINED)
    world.run(900, until=lambda: state(pod) == "terminated")
    assert "the agent says drained" in "".join(pod.events.values_list("because", flat=True))


class Meanwhile:
    """A provider whose first list calls `what` before it returns, so that something else happens."""

    def __init__(self, provider: Provider, what: Callable[[], object]) -> None:
        self._provider, self._what = provider, what

    def __getattr__(self, name: str) -> Any:
        return getattr(self._provider, name)

    def list_tagged(self, tag: str) -> Any:
        machines = self._provider.list_tagged(tag)
        what, self._what = self._what, lambda: None
        what()
        return machines


@pytest.mark.fault(41)
def test_a_machine_that_is_adopted_during_a_reconciliation_is_not_destroyed(
    world: World,
) -> None:
    pod = world.booted()
    request = world.rig.state.pods[str(pod.external_id)].request
    orphan = world.rig.state.create({**request, "name": f"{world.tag}-{'ab' * 16}"})
    world.reconcile()
    world.rig.clock.advance(300)

    def adopt() -> None:
        found = adopting.found_machines([world.account], connect=world.connect)
        adopting.adopt(found, world.tag.split("-")[1], {world.fleet.pk: world.fleet})

    provider = Meanwhile(world.provider, adopt)
    done = reconciling.reconcile_account(
        world.account, template_of=requesting.template_of, connect=lambda _: provider
    )
    assert done.destroyed == []
    assert Pod.objects.get(external_id=orphan.id).state == "booting"
    world.run(300)
    assert orphan.id in world.living()
