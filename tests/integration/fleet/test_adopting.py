"""After a lost database, machines that still bill get rows again, and none is destroyed by mistake."""

import json

import pytest
from django.core.management import CommandError, call_command

from fleet import adopting
from fleet.adopting import CannotAdopt
from fleet.models import Fleet
from pods import teardown
from pods.models import Installation, Pod, PodEvent, PriceSegment
from pods.rules import PodRule
from pods.states import READY
from tests.support.factories import a_fleet, a_pod
from tests.support.rigs.runpod_rig import KEY
from tests.support.world import World

pytestmark = pytest.mark.django_db


def lose_the_database(world: World) -> tuple[str, int, list[str]]:
    """Delete all rows, but not the machines and Redis; the operator creates the fleet again."""
    slug, fleet_id = Installation.objects.get().slug, world.fleet.pk
    machines = sorted(p.id for p in world.rig.state.living())
    PodEvent.objects.all().delete()
    PriceSegment.objects.all().delete()
    Pod.objects.all().delete()
    Fleet.objects.all().delete()
    Installation.objects.all().delete()
    assert Installation.tag() != f"pf-{slug}"
    world.fleet = a_fleet(accounts=[world.account], name="emb")
    return slug, fleet_id, machines


def adopted(world: World, slug: str, fleet_id: int) -> list[Pod]:
    found = adopting.found_machines([world.account], connect=world.connect)
    return list(adopting.adopt(found, slug, {fleet_id: world.fleet}))


@pytest.mark.fault(53)
def test_machines_of_a_lost_database_get_rows_keep_working_and_can_be_ended(world: World) -> None:
    for _ in range(2):
        world.booted()
    slug, fleet_id, machines = lose_the_database(world)
    pods = adopted(world, slug, fleet_id)
    assert sorted(str(p.external_id) for p in pods) == machines
    assert {p.hourly_usd for p in pods} == {world.rig.offer().hourly_usd}
    world.run(10)
    for pod in pods:
        world.beat(pod)  # its agent kept beating all the time
    world.sweep()
    world.reconcile()
    world.run(120)
    assert [p.status for p in Pod.objects.all()] == [READY, READY]
    assert sorted(p.id for p in world.rig.state.living()) == machines
    assert PriceSegment.objects.filter(until=None).count() == 2
    assert adopted(world, slug, fleet_id) == []  # a second call changes nothing
    for pod in Pod.objects.all():
        teardown.retire_pod(pod, by="ann", rule=PodRule.OPERATOR, because="enough", drain=False)
    world.run(600)
    assert {p.state for p in Pod.objects.all()} == {"terminated"}
    assert not world.rig.state.living()


@pytest.mark.fault(53)
def test_nothing_is_adopted_without_a_fleet_for_each_machine(world: World) -> None:
    world.booted()
    slug, fleet_id, machines = lose_the_database(world)
    found = adopting.found_machines([world.account], connect=world.connect)
    with pytest.raises(CannotAdopt, match=f"fleet {fleet_id} of {slug} has machines too"):
        adopting.adopt(found, slug, {fleet_id + 1: world.fleet})
    with pytest.raises(CannotAdopt, match=f"the installation 123abc has no machines.*{slug}"):
        adopting.adopt(found, "123abc", {fleet_id: world.fleet})
    assert Installation.tag() != f"pf-{slug}"
    world.reconcile()
    world.run(300)
    assert sorted(p.id for p in world.rig.state.living()) == machines


def test_an_installation_with_its_own_pods_keeps_its_name(world: World) -> None:
    world.booted()
    slug, fleet_id, _ = lose_the_database(world)
    mine = Installation.tag()
    a_pod(world.fleet, READY)
    with pytest.raises(CannotAdopt, match="drain them first"):
        adopted(world, slug, fleet_id)
    assert Installation.tag() == mine
    assert Pod.objects.count() == 1


@pytest.mark.fault(30)
def test_nothing_is_adopted_if_the_machines_cannot_be_listed(world: World) -> None:
    world.booted()
    lose_the_database(world)
    world.account.options = {"base_url": "http://127.0.0.1:1"}
    world.account.save()
    with pytest.raises(CommandError, match="nothing was changed"):
        call_command("fleet", "adopt")


def test_the_command_only_shows_machines_until_yes_is_given(
    world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    world.booted()
    slug, fleet_id, machines = lose_the_database(world)
    monkeypatch.setenv("RUNPOD_KEY", KEY)
    world.account.options = {"base_url": world.rig.server.url}
    world.account.secret_ref = "env:RUNPOD_KEY"
    world.account.save()
    call_command("fleet", "adopt")
    assert f"installation {slug}, fleet {fleet_id}: 1 machine " in capsys.readouterr().out
    call_command("fleet", "adopt", f"emb={fleet_id}", "--installation", slug, "--json")
    (seen,) = json.loads(capsys.readouterr().out)["machines"]
    assert (seen["external_id"], seen["known"]) == (machines[0], False)
    assert not Pod.objects.exists()
    for wrong, says in (("emb", "NAME=ID"), ("nope=1", "no fleet 'nope'")):
        with pytest.raises(CommandError, match=says):
            call_command("fleet", "adopt", wrong, "--installation", slug, "--yes")
    call_command("fleet", "adopt", f"emb={fleet_id}", "--installation", slug, "--yes")
    assert "1 pod adopted" in capsys.readouterr().out
    assert Pod.objects.get().external_id == machines[0]
