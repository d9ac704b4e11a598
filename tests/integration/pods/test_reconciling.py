"""Reconciliation with an emulated vendor: machines without rows, and ended rows whose machine lives."""

from datetime import timedelta

import pytest

from fleet.models import Fleet
from fleet.tick import requesting
from pods import lifecycle, spawning, teardown
from pods.accounts import connecting
from pods.agent.protocol import AgentState
from pods.base import clock
from pods.emulators.base import Reply
from pods.models import Account, Installation, Orphan, Pod, PriceSegment
from pods.rules import PodRule
from pods.states import CREATING
from tests.support.rigs.runpod_rig import POD
from tests.support.world import World, state

pytestmark = pytest.mark.django_db


@pytest.mark.fault(27)
def test_a_tagged_machine_without_a_row_is_destroyed_after_two_sightings(world: World) -> None:
    request = {**world.rig.state.pods[str(world.booted().external_id)].request}
    orphan = world.rig.state.create({**request, "name": f"{world.tag}-{'ab' * 16}"})
    foreign = world.rig.state.create({**request, "name": "somebody-elses"})
    world.reconcile()
    assert Orphan.objects.get().external_id == orphan.id
    assert len(world.living()) == 3
    world.rig.clock.advance(300)
    assert world.reconcile().destroyed == [orphan.id]
    assert Pod.objects.filter(external_id=orphan.id, state="terminating").exists()
    world.run(900, until=lambda: orphan.id not in world.living())
    assert foreign.id in world.living()


@pytest.mark.parametrize("rest", ["²-" + "ab" * 16, "x", "9" * 18])
def test_one_of_our_machines_with_an_odd_name_does_not_stop_a_reconciliation(
    world: World, rest: str
) -> None:
    request = {**world.rig.state.pods[str(world.booted().external_id)].request}
    odd = world.rig.state.create({**request, "name": f"{Installation.tag()}-{rest}"})
    orphan = world.rig.state.create({**request, "name": f"{world.tag}-{'ab' * 16}"})
    world.reconcile()
    assert Orphan.objects.get(external_id=odd.id).fleet_id is None
    world.rig.clock.advance(300)
    assert sorted(world.reconcile().destroyed) == sorted([odd.id, orphan.id])
    assert not Pod.objects.filter(external_id=odd.id).exists()


def test_an_orphan_is_adopted_if_the_operator_chose_that(world: World) -> None:
    Account.objects.update(orphans="adopt")
    world.account.refresh_from_db()
    request = {**world.rig.state.pods[str(world.booted().external_id)].request}
    orphan = world.rig.state.create({**request, "name": f"{world.tag}-{'ab' * 16}"})
    world.reconcile()
    world.rig.clock.advance(300)
    assert world.reconcile().adopted == [orphan.id]
    adopted = Pod.objects.get(external_id=orphan.id)
    assert adopted.state == "booting"
    world.run(60)
    world.beat(adopted)
    world.sweep()
    assert state(adopted) == "ready"


def test_an_adopted_pod_is_destroyed_after_its_drain_although_the_newest_pod_was_to_be_stopped(
    world: World,
) -> None:
    Account.objects.update(orphans="adopt")
    world.account.refresh_from_db()
    newest = world.booted()
    Pod.objects.filter(pk=newest.pk).update(stop_when_idle=True, retire_rule="idle")
    request = {**world.rig.state.pods[str(newest.external_id)].request}
    orphan = world.rig.state.create({**request, "name": f"{world.tag}-{'ab' * 16}"})
    world.reconcile()
    world.rig.clock.advance(300)
    assert world.reconcile().adopted == [orphan.id]
    adopted = Pod.objects.get(external_id=orphan.id)
    assert (adopted.stop_when_idle, adopted.retire_rule) == (False, "")
    world.run(60)
    world.beat(adopted)
    world.sweep()
    adopted.refresh_from_db()
    teardown.retire_pod(adopted, by="ann", rule=PodRule.OPERATOR, because="enough")
    world.beat(adopted, AgentState.DRAINED)
    world.run(300, until=lambda: state(adopted) == "terminated")
    assert orphan.id not in world.living()


def test_a_machine_of_a_fleet_without_pods_gets_a_row_with_the_fleets_values(
    world: World,
) -> None:
    Fleet.objects.update(backlog_url="redis://elsewhere.example:6379/0", boot_seconds=77)
    request = {"gpu": {"id": world.rig.state.catalog[0].id, "count": 1}, "image": "i", "env": {}}
    orphan = world.rig.state.create({**request, "name": f"{world.tag}-{'ab' * 16}"})
    world.reconcile()
    world.rig.clock.advance(300)
    assert world.reconcile().destroyed == [orphan.id]
    row = Pod.objects.get(external_id=orphan.id)
    assert (row.state, row.fleet_id, row.tag) == ("terminating", world.fleet.pk, world.tag)
    assert (row.name, row.client_token.hex) == (f"{world.tag}-{'ab' * 16}", "ab" * 16)
    assert (row.redis_url, row.boot_seconds) == ("redis://elsewhere.example:6379/0", 77)
    assert row.agent == requesting.agent_settings(world.fleet)


def test_a_living_machine_of_an_ended_row_counts_again_and_is_destroyed(world: World) -> None:
    pod = world.booted()
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    world.run(900, until=lambda: state(pod) == "terminated")
    ended = Pod.objects.get(pk=pod.pk)
    back = world.rig.state.pods[str(ended.external_id)]
    back.halted, back.listed_until = None, None
    world.rig.clock.advance(60)
    events = ended.events.count()
    assert world.reconcile().resurrected == [ended.external_id]
    assert ended.events.count() == events + 1
    assert list(Pod.objects.billable()) == [ended]
    world.run(1200, until=lambda: state(pod) == "terminated")


@pytest.mark.fault(36)
def test_a_machine_that_was_proved_gone_and_lives_is_booked_for_the_whole_time(
    world: World,
) -> None:
    pod = world.booted()
    machine = world.rig.state.pods[str(pod.external_id)]
    world.rig.server.faults.answer("DELETE", POD, Reply(status=204), times=50)
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    machine.known_from = machine.listed_from = clock.utcnow() + timedelta(days=365)
    world.run(900, until=lambda: state(pod) == "terminated")
    world.rig.clock.advance(5 * 3600)
    machine.known_from = machine.listed_from = clock.utcnow()
    world.rig.server.faults.clear()
    assert world.reconcile().resurrected == [pod.external_id]
    assert _booked(pod) == pytest.approx(_billed(world, pod), abs=0.001)
    world.run(1200, until=lambda: state(pod) == "terminated")
    assert _booked(pod) == pytest.approx(_billed(world, pod), abs=0.001)


def test_a_machine_whose_spawn_was_given_up_is_booked_since_it_was_asked_for(
    world: World,
) -> None:
    pod = world.requested()
    lifecycle.move(pod, CREATING, by="test", because="claimed", asked_at=clock.utcnow())
    machine = world.provider.create(
        connecting.spec(pod, redis_url="redis://redis:6379/0"), token=pod.client_token.hex
    )
    spawning._give_up(pod, PodRule.NO_ANSWER, "no answer")
    assert not PriceSegment.objects.filter(pod=pod).exists()
    world.rig.clock.advance(3600)
    assert world.reconcile().resurrected == [machine.external_id]
    assert Pod.objects.get(pk=pod.pk).external_id == machine.external_id
    assert _booked(pod) == pytest.approx(
        float(world.rig.state.bill.total(machine.external_id, now=clock.utcnow())), abs=0.001
    )


def test_a_machine_without_a_row_is_booked_since_it_was_first_seen(world: World) -> None:
    pod = world.booted()
    Pod.objects.filter(pk=pod.pk).delete()
    world.reconcile()
    first_seen = clock.utcnow()
    world.rig.clock.advance(3600)
    world.reconcile()
    row = Pod.objects.get()
    assert (row.external_id, row.state) == (pod.external_id, "terminating")
    assert PriceSegment.objects.get(pod=row).since == first_seen


def _booked(pod: Pod) -> float:
    return float(sum(s.cost_usd(clock.utcnow()) for s in PriceSegment.objects.filter(pod=pod)))


def _billed(world: World, pod: Pod) -> float:
    return float(world.rig.state.bill.total(str(pod.external_id), now=clock.utcnow()))
