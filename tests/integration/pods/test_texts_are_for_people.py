"""Code reads a pod's rule and never its texts, so the texts may have any wording."""

import pytest

from pods.models import Pod, PodEvent
from pods.states import CREATING, DRAINING, TERMINATING
from tests.support.factories import a_pod
from tests.support.world import World

pytestmark = pytest.mark.django_db
TEXTS = ("because", "retire_because", "lost_because", "note")


@pytest.mark.parametrize("words", ["", "absent", "stopped unasked: outbid", "idle: for 130 s"])
def test_other_texts_do_not_change_how_a_pod_ends(world: World, words: str) -> None:
    lost = a_pod(world.fleet, TERMINATING, retire_rule="stopped_unasked")
    idle = a_pod(world.fleet, TERMINATING, retire_rule="idle")
    unwanted = a_pod(world.fleet, CREATING, external_id="m1", retire_rule="idle")
    wanted = a_pod(world.fleet, CREATING, external_id="m2")
    halting = {"stop_when_idle": True, "drain_seconds": 0}
    kept = a_pod(world.fleet, DRAINING, retire_rule="idle", **halting)
    not_kept = a_pod(world.fleet, DRAINING, retire_rule="stopped_unasked", **halting)
    Pod.objects.update(**dict.fromkeys(TEXTS, words))
    world.rig.clock.advance(1)
    ending = Pod.objects.filter(pk__in=[lost.pk, idle.pk])
    world.run(900, until=lambda: not ending.billable().exists())
    assert [Pod.objects.get(pk=p.pk).state for p in (lost, idle)] == ["lost", "terminated"]
    assert [
        PodEvent.objects.filter(pod=p).order_by("pk")[1].after
        for p in (unwanted, wanted, kept, not_kept)
    ] == ["terminating", "booting", "stopping", "terminating"]
