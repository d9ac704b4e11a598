"""The items of a pod count over all agents that ran on its machine."""

from decimal import Decimal

import pytest

from fleet.money import ledger
from pods.agent.protocol import LARGEST_COUNT
from pods.models import Pod
from tests.support.world import World

pytestmark = pytest.mark.django_db


def heard(world: World, pod: Pod, *, seconds_ago: float = 0, **counts: int) -> tuple[int, int, int]:
    """What the row counts after a sweep that read this heartbeat."""
    world.beat(pod, seconds_ago=seconds_ago, **counts)
    world.sweep()
    pod.refresh_from_db()
    return pod.done, pod.failed, pod.dead


def test_an_agent_that_restarts_in_place_keeps_what_its_pod_has_done(world: World) -> None:
    pod = world.booted()
    assert heard(world, pod, done=100_000, failed=7, dead=2) == (100_000, 7, 2)
    assert heard(world, pod, done=3, uptime_ms=1000) == (100_003, 7, 2)
    assert heard(world, pod, done=500, failed=1, uptime_ms=2000) == (100_500, 8, 2)
    assert heard(world, pod, done=500, failed=1, uptime_ms=3000) == (100_500, 8, 2)
    assert heard(world, pod, done=1, uptime_ms=10) == (100_501, 8, 2)


def test_an_agent_that_has_overtaken_the_one_before_it_is_known_by_its_uptime(
    world: World,
) -> None:
    pod = world.booted()
    assert heard(world, pod, done=10, uptime_ms=50_000) == (10, 0, 0)
    assert heard(world, pod, done=25, uptime_ms=40_000) == (35, 0, 0)


def test_a_heartbeat_out_of_old_data_counts_nothing(world: World) -> None:
    pod = world.booted()
    assert heard(world, pod, done=600, uptime_ms=60_000) == (600, 0, 0)
    for _ in range(2):
        assert heard(world, pod, done=500, uptime_ms=50_000, seconds_ago=10) == (600, 0, 0)
    world.rig.clock.advance(60)
    assert heard(world, pod, done=700, uptime_ms=120_000) == (700, 0, 0)


def test_counts_that_no_row_can_hold_stop_at_the_largest(world: World) -> None:
    pod = world.booted()
    for done in (LARGEST_COUNT, 0, LARGEST_COUNT):
        counted, _, _ = heard(world, pod, done=done)
        assert counted == LARGEST_COUNT


def test_the_price_of_a_million_items_counts_every_agent_of_the_pod(world: World) -> None:
    pod = world.booted()
    heard(world, pod, done=1_000_000)
    world.rig.clock.advance(3600)
    heard(world, pod, done=1_000_000, uptime_ms=5000)
    heard(world, pod, done=1, uptime_ms=10)
    price = ledger.prices("fleet__name")["emb"]
    assert price.items == 1_000_001
    usd = price.usd_per_million
    assert usd is not None
    assert abs(usd - pod.hourly_usd) < pod.hourly_usd * Decimal("0.1")
