"""Whatever a pod's machine writes as its heartbeat, sweeps continue and other pods are unharmed."""

from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from fleet.tick import gathering
from pods.accounts import connecting
from pods.agent.protocol import AgentState, Heartbeat
from pods.models import Pod
from tests.support.world import World, state

pytestmark = [pytest.mark.django_db, pytest.mark.fault(68)]
NAMES = sorted({*Heartbeat(state=AgentState.WORKING).fields(), "at_ms"})
huge = st.sampled_from([10**30, -(10**30), 2**63, -(2**63), 2**53, 10**15, -1, 0, 1]).map(str)
odd = st.sampled_from(
    ["nan", "inf", "-inf", "1e400", "", "\0", "٣", "1_000", "9" * 5000, "working"]
)
values = st.one_of(
    huge.map(str.encode), odd.map(str.encode), st.integers().map(lambda n: str(n).encode()),
    st.text(max_size=50).map(lambda t: t.encode("utf-8", "replace")), st.binary(max_size=50),
)  # fmt: skip


@settings(
    deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40
)
@given(said=st.dictionaries(st.sampled_from(NAMES), values, min_size=1, max_size=6))
@example(said={"idle_ms": b"9" * 30})
@example(said={"at_ms": b"-" + b"9" * 30})
@example(said={"done": b"9" * 19})
@example(said={"done": b"-1"})
@example(said={"rate": b"nan"})
@example(said={"note": b"a\0b\x1b[31m"})
def test_a_hostile_heartbeat_does_not_stop_a_sweep_or_a_tick_for_other_pods(
    hostile: tuple[World, Pod, Pod], said: dict[str, bytes]
) -> None:
    world, bad, good = hostile
    world.beat(bad)
    fields: dict[Any, Any] = {**said}
    world.redis.hset(connecting.keys(bad).pod(bad.name), mapping=fields)
    done = Pod.objects.get(pk=good.pk).done + 1
    world.beat(good, done=done)
    world.sweep()
    gathering.gather(world.fleet, now=world.rig.clock())
    good.refresh_from_db()
    assert (good.state, good.done) == ("ready", done)
    noted = Pod.objects.get(pk=bad.pk).note
    assert noted == "" or noted.isprintable()


@pytest.fixture
def hostile(world: World) -> tuple[World, Pod, Pod]:
    return world, world.booted(), world.booted()


def test_a_heartbeat_that_makes_no_sense_is_unknown_and_does_not_make_a_pod_ill(
    hostile: tuple[World, Pod, Pod],
) -> None:
    world, bad, _ = hostile
    world.beat(bad)
    world.redis.hset(connecting.keys(bad).pod(bad.name), "in_flight", "many")
    world.rig.clock.advance(300)
    world.sweep()
    assert state(bad) == "ready"


def test_a_huge_rate_without_items_is_not_stored_as_the_speed_of_a_gpu(
    hostile: tuple[World, Pod, Pod],
) -> None:
    world, bad, _ = hostile
    for done in (5, 6):
        world.beat(bad, done=done, rate=1e9, uptime_ms=3_600_000)
        world.sweep()
        world.rig.clock.advance(60)
    assert Pod.objects.get(pk=bad.pk).rate < 1
