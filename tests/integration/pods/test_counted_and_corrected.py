"""What the life of a pod leaves for /metrics, and why its booked cost changed at its end."""

import pytest

from pods import teardown
from pods.base import counters
from pods.models import Correction, PriceSegment
from pods.rules import PodRule
from tests.support.world import World, state

pytestmark = pytest.mark.django_db


def test_the_times_of_a_spawn_and_of_a_boot_are_counted_once(world: World) -> None:
    pod = world.booted()
    world.sweep()
    found = counters.read()
    for kind, least in (("spawn", 0.0), ("boot", 50.0)):
        numbers = {field[2]: n for field, n in found.items() if field[:2] == (kind, "runpod")}
        assert least <= numbers.pop("sum") <= 120
        assert sum(numbers.values()) == 1
    assert state(pod) == "ready"


def test_a_proved_end_says_by_how_much_the_sum_fell(world: World) -> None:
    pod = world.booted()
    teardown.retire_pod(pod, by="test", rule=PodRule.STOP_ALL, because="test")
    world.run(900, until=lambda: state(pod) == "terminated")
    segment = PriceSegment.objects.get(pod=pod)
    row = Correction.objects.get()
    assert (row.why, row.since) == (Correction.Why.ENDED_EARLIER.value, segment.until)
    assert row.micros < 0
    assert row.at == row.until > row.since


def test_a_machine_that_vanished_says_why_the_sum_fell(world: World) -> None:
    pod = world.booted()
    world.rig.clock.advance(600)  # the machine is no longer new, so lists show it
    world.rig.state.delete(str(pod.external_id))
    world.listen(600)
    row = Correction.objects.get()
    assert (row.why, row.pod) == (Correction.Why.MISSING_EARLIER.value, pod)
    assert row.micros < 0
