"""Whose a machine and a claim are, and how long a sight or an end must be old before it counts."""

from datetime import timedelta
from unittest import mock

import pytest

from pods import lifecycle, reconciling
from pods.base import clock
from pods.models import Account, Orphan, Pod
from pods.providers.base import Machine
from pods.states import LOST
from tests.support.factories import a_pod
from tests.support.rigs.runpod_rig import PODS
from tests.support.world import World, state

pytestmark = pytest.mark.django_db


def rented(world: World, name: str) -> str:
    """The id of a machine that somebody rented under this name."""
    request = {**world.rig.state.pods[str(world.booted().external_id)].request}
    return world.rig.state.create({**request, "name": name}).id


@pytest.mark.fault(27)
@pytest.mark.parametrize(("policy", "lives"), [("adopt", True), ("destroy", False)])
def test_a_machine_of_no_fleet_is_destroyed_only_where_the_operator_wants_that(
    world: World, policy: str, *, lives: bool
) -> None:
    Account.objects.update(orphans=policy)
    world.account.refresh_from_db()
    unowned = rented(world, f"{world.tag.rpartition('-')[0]}-999-{'ab' * 16}")
    for _ in range(3):
        world.reconcile()
        world.rig.clock.advance(300)
    assert (unowned in world.living()) is lives
    assert not Pod.objects.filter(external_id=unowned).exists()
    assert (Orphan.objects.get(external_id=unowned).gone_at is None) is lives


@pytest.mark.fault(4)
def test_a_machine_that_the_vendor_lists_as_ended_is_not_taken_for_the_one_that_was_asked_for(
    world: World,
) -> None:
    world.rig.state.linger = 7 * 24 * 3600
    world.rig.server.faults.lose_answer("POST", PODS)
    pod = world.spawn(world.requested())
    [ended] = world.living()
    world.rig.state.vanish(ended)
    world.run(900, until=lambda: state(pod) == "booting")
    pod.refresh_from_db()
    assert pod.external_id != ended
    assert world.living() == [pod.external_id]


@pytest.mark.fault(27)
def test_a_machine_without_a_row_is_left_alone_for_as_long_as_a_spawn_may_store_its_id(
    world: World,
) -> None:
    orphan = rented(world, f"{world.tag}-{'ab' * 16}")
    window = world.provider.capabilities.consistency_window
    assert window > 2 * reconciling.SIGHTINGS_APART
    world.reconcile()
    world.rig.clock.advance(window.total_seconds() - 1)
    assert world.reconcile().destroyed == []
    assert not Pod.objects.filter(external_id=orphan).exists()
    world.rig.clock.advance(1)
    assert world.reconcile().destroyed == [orphan]


def test_a_list_that_is_older_than_the_end_of_a_pod_does_not_bring_it_back(world: World) -> None:
    pod = world.booted()
    list_tagged = world.provider.list_tagged

    def slow(tag: str) -> list[Machine]:
        """The pod's end is proved and written while the answer is on its way."""
        machines = list(list_tagged(tag))
        world.rig.state.vanish(str(pod.external_id))
        lifecycle.move(pod, LOST, by="test", because="gone")
        return machines

    with mock.patch.object(world.provider, "list_tagged", slow):
        assert world.reconcile().resurrected == []
    assert state(pod) == "lost"


@pytest.mark.fault(44)
def test_a_verb_whose_claim_has_ended_does_not_free_the_claim_of_the_verb_after_it(
    world: World,
) -> None:
    pod = a_pod(world.fleet)
    with lifecycle.claimed(pod.pk) as first:
        assert first is not None
        world.rig.clock.advance(timedelta(hours=1).total_seconds())
        assert lifecycle._take(pod.pk) is not None
    held = Pod.objects.get(pk=pod.pk).claimed_until
    assert held is not None
    assert held > clock.utcnow()
    with lifecycle.claimed(pod.pk) as third:
        assert third is None
