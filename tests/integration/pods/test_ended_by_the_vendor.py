"""A pod whose machine the vendor goes on showing as ended."""

import pytest

from pods.base import clock
from pods.models import Pod, PriceSegment
from pods.providers.base import Phase
from tests.support.world import World, state

pytestmark = pytest.mark.django_db


@pytest.mark.fault(26)
@pytest.mark.parametrize("shows_ended", [False, True], ids=["status: 404", "status: TERMINATED"])
def test_a_pod_that_the_vendor_keeps_listing_as_ended_is_lost_too(
    world: World, *, shows_ended: bool
) -> None:
    world.rig.state.shows_ended = shows_ended
    pod = world.booted()
    world.rig.clock.advance(600)  # no new machine any more, which lists may lack
    world.rig.state.linger = 7 * 24 * 3600
    world.rig.state.delete(str(pod.external_id))
    assert [m.phase for m in world.provider.list_tagged(world.tag)] == [Phase.GONE]
    ended = clock.utcnow()
    world.beat(pod)
    world.sweep()
    assert state(pod) == "ready"  # one look proves nothing
    world.listen(180)
    pod.refresh_from_db()
    assert (pod.state, pod.retire_rule) == ("terminating", "absent")
    assert ("TERMINATED" in pod.lost_because) is shows_ended
    assert PriceSegment.objects.get(pod=pod).until == ended
    world.run(900, until=lambda: state(pod) == "lost")
    assert list(Pod.objects.billable()) == []
    world.reconcile()
    assert state(pod) == "lost"
