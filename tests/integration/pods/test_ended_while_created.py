"""A pod that is ended while its machine is created: its row as it is now decides, not an old copy."""

import pytest

from pods import lifecycle, teardown
from pods.lifecycle import Overtaken
from pods.models import Pod, PodEvent
from pods.providers.base import Machine, PodSpec
from pods.rules import PodRule
from pods.states import BOOTING, CREATING
from tests.support.world import World, state

pytestmark = pytest.mark.django_db


@pytest.mark.fault(13)
@pytest.mark.parametrize("drain", [True, False], ids=["drain", "destroy"])
def test_a_pod_that_is_ended_during_its_create_call_ends(
    world: World, monkeypatch: pytest.MonkeyPatch, *, drain: bool
) -> None:
    pod = world.requested()
    create = world.provider.create

    def slow(spec: PodSpec, *, token: str) -> Machine:
        machine = create(spec, token=token)
        seen = Pod.objects.get(pk=pod.pk)
        assert teardown.retire_pod(seen, by="ann", rule=PodRule.OPERATOR, because="x", drain=drain)
        return machine

    monkeypatch.setattr(world.provider, "create", slow)
    world.spawn(pod)
    assert (pod.state, pod.retire_rule, pod.because) == ("terminating", "operator", "x")
    world.run(900, until=lambda: world.living() == [] and state(pod) == "terminated")


@pytest.mark.fault(13)
def test_a_pod_that_is_ended_between_the_last_look_at_its_row_and_its_boot_ends(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod, reread = world.requested(), lifecycle.reread_intent

    def just_before(seen: Pod) -> None:
        reread(seen)
        if seen.external_id is not None and not PodEvent.objects.filter(by="ann").exists():
            teardown.retire_pod(
                Pod.objects.get(pk=pod.pk), by="ann", rule=PodRule.OPERATOR, because="x"
            )

    monkeypatch.setattr(lifecycle, "reread_intent", just_before)
    world.spawn(pod)
    assert (pod.state, pod.external_id is None) == ("creating", False)
    world.work()
    assert state(pod) == "terminating"


@pytest.mark.fault(13)
def test_nothing_is_asked_for_a_pod_that_is_ended_while_its_spawn_looks(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = world.requested()

    def looked(_tag: str) -> list[Machine]:
        seen = Pod.objects.get(pk=pod.pk)
        assert teardown.retire_pod(seen, by="ann", rule=PodRule.OPERATOR, because="x")
        return []

    monkeypatch.setattr(world.provider, "list_tagged", looked)
    world.spawn(pod)
    assert (pod.state, pod.retire_rule) == ("failed", "operator")
    assert world.rig.state.pods == {}


@pytest.mark.fault(13)
def test_an_end_that_is_asked_by_an_old_row_is_not_taken_for_begun(world: World) -> None:
    old = world.spawn(world.requested())
    assert old.status is BOOTING
    old.state = CREATING.value
    with pytest.raises(Overtaken):
        teardown.retire_pod(old, by="ann", rule=PodRule.OPERATOR, because="x")
