"""After an outage, a loss, a restore or a full server, the state of agents is unknown for a while."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from fleet.tick import gathering
from pods.base import clock
from pods.models import Pod
from tests.support.own_redis import OwnServer, own_redis
from tests.support.rigs.runpod_rig import Rig
from tests.support.world import World

pytestmark = [pytest.mark.django_db, pytest.mark.fault(45)]
PODS = 3
STREAM = GROUP = "embedding_tasks"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[OwnServer]:
    with own_redis(tmp_path) as made:
        yield made


@pytest.fixture
def world(rig: Rig, db: None, redis_url: str, server: OwnServer) -> Iterator[World]:
    """A world whose pods have their backlog on a separate server."""
    with clock.use(rig.clock):
        made = OnOwnServer(rig, server.url)
        yield made
        made.check_history()


class OnOwnServer(World):
    """The world, with its backlog on a server other than the installation's."""

    def requested(self, **values: Any) -> Pod:
        [address] = (self.redis.connection_pool.connection_kwargs["port"],)
        return super().requested(redis_url=f"redis://127.0.0.1:{address}/0", **values)


def ready(world: World) -> list[Pod]:
    """Pods that have been READY for twice `silent_seconds`."""
    pods = [world.booted() for _ in range(PODS)]
    world.listen(pods[0].silent_seconds * 2)
    assert states() == {"ready"}
    return pods


def states() -> set[str]:
    return set(Pod.objects.values_list("state", flat=True))


def silence(pods: list[Pod]) -> float:
    return float(pods[0].silent_seconds)


@pytest.mark.parametrize("empty", [True, False], ids=["empty", "with old heartbeats"])
def test_a_long_outage_of_redis_ends_no_pod_before_agents_had_time_for_a_heartbeat(
    world: World, server: OwnServer, *, empty: bool
) -> None:
    pods = ready(world)
    server.keep_replica()
    server.kill(lose_data=empty)
    world.listen(silence(pods) * 3)
    server.start()
    if not empty:  # no agent could write since
        for pod in pods:
            world.beat(pod, seconds_ago=silence(pods) * 3)
    world.sweep()
    world.listen(silence(pods))
    assert states() == {"ready"}
    for pod in pods:
        world.beat(pod)
    world.listen(silence(pods) * 2)
    assert states() == {"ready"}
    assert len(world.living()) == PODS


def test_an_agent_that_does_not_come_back_with_redis_is_found_silent(
    world: World, server: OwnServer
) -> None:
    pods = ready(world)
    server.kill(lose_data=True)
    world.listen(silence(pods) * 3)
    server.start()
    world.listen(silence(pods) + 1)
    ended = Pod.objects.filter(state="terminating")
    assert ended.count() == 1  # S15
    assert "no sign of life for" in ended.get().because


def test_a_pod_whose_boot_deadline_passed_while_redis_was_away_may_still_register(
    world: World, server: OwnServer
) -> None:
    pod = world.spawn(world.requested(boot_seconds=300))
    world.sweep()
    server.kill(lose_data=True)
    world.listen(600, every=200)
    server.start()
    world.sweep()
    assert states() == {"booting"}
    world.beat(pod)
    world.sweep()
    assert states() == {"ready"}


def test_no_pod_ends_or_is_doubled_when_a_replica_without_the_last_second_takes_over(
    world: World, server: OwnServer
) -> None:
    pods = ready(world)
    world.redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    for n in range(20):
        world.redis.xadd(STREAM, {"payload": str(n)})
    for pod in pods:
        world.beat(pod, seconds_ago=silence(pods) * 2)
    server.keep_replica()
    for pod in pods:
        world.beat(pod)
    world.redis.xadd(STREAM, {"payload": "in the last second"})
    world.sweep()
    world.rig.clock.advance(silence(pods) * 2)  # the heartbeat in the row is old, too
    server.fail_over()
    gathered = gathering.gather(world.fleet, now=world.rig.clock())
    assert {p.state.value for p in gathered.seen.pods} == {"ready"}
    world.sweep()
    world.listen(silence(pods))
    assert states() == {"ready"}
    assert len(world.living()) == PODS


def test_a_pod_that_could_not_acknowledge_while_redis_was_away_is_not_hung(
    world: World, server: OwnServer
) -> None:
    pods = ready(world)
    server.kill(lose_data=False)
    world.listen(1500, every=250)
    server.start()
    for pod in pods:
        world.beat(pod, in_flight=8, oldest_ms=1_600_000, since_ack_ms=1_600_000)
    world.listen(600, every=200)
    assert states() == {"ready"}


def test_a_pod_that_could_not_acknowledge_on_a_full_server_is_not_hung(
    world: World,
) -> None:
    pods = ready(world)
    for pod in pods:
        world.beat(pod, in_flight=8, oldest_ms=3_600_000, since_ack_ms=3_600_000)
    world.redis.config_set("maxmemory", "1")
    world.listen(1500, every=250)
    assert states() == {"ready"}
    world.redis.config_set("maxmemory", "0")
    world.listen(60)
    assert states() == {"ready"}


def test_agents_on_a_full_server_still_learn_that_a_manager_lives(world: World) -> None:
    ready(world)
    lease = "podfleet:emb:lease"
    before = int(world.redis.get(lease))
    world.redis.config_set("maxmemory", "1")
    with pytest.raises(redis.ResponseError, match="maxmemory"):
        world.redis.set("anything", "1")
    world.sweep()
    assert int(world.redis.get(lease)) > before


def test_a_manager_that_was_away_gives_agents_time_for_a_heartbeat(world: World) -> None:
    pods = ready(world)
    world.redis.delete(*(f"podfleet:emb:pod:{p.name}" for p in pods))
    world.rig.clock.advance(3600)  # the machine of manager and Redis slept
    world.sweep()
    world.listen(silence(pods))
    assert states() == {"ready"}
    world.listen(60)
    assert states() == {"ready", "terminating"}


@pytest.fixture
def plain(world: World) -> list[Pod]:
    """READY pods with a user's own consumers, which send no heartbeats."""
    world.redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    pods = [world.spawn(world.requested()) for _ in range(PODS)]
    world.run(60)
    ask(world, pods)
    world.listen(120)
    assert states() == {"ready"}
    return pods


def ask(world: World, pods: list[Pod]) -> None:
    for pod in pods:
        world.redis.xreadgroup(GROUP, pod.name, {STREAM: ">"})


def test_plain_consumers_of_an_emptied_redis_are_unknown_until_their_group_is_back(
    world: World, plain: list[Pod]
) -> None:
    world.redis.flushall()
    world.listen(300)
    assert states() == {"ready"}
    world.redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    ask(world, plain)
    world.listen(300)
    assert states() == {"ready"}


def test_plain_consumers_have_time_to_ask_again_after_the_loss(
    world: World, plain: list[Pod]
) -> None:
    world.redis.flushall()
    world.redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    world.sweep()
    world.listen(silence(plain))
    assert states() == {"ready"}
    world.listen(60)
    assert Pod.objects.filter(state="terminating").count() == 1  # S15


def test_a_plain_consumer_counts_as_idle_only_since_redis_can_be_read(
    world: World, plain: list[Pod], server: OwnServer
) -> None:
    server.kill(lose_data=True)
    world.listen(600, every=200)
    server.start()
    world.redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    ask(world, plain)
    unknown = gathering.gather(world.fleet, now=world.rig.clock()).seen.pods
    assert {p.idle_for for p in unknown} <= {None, timedelta(0)}
    world.listen(30)
    known = gathering.gather(world.fleet, now=world.rig.clock()).seen.pods
    assert {p.idle_for for p in known} == {timedelta(seconds=30)}
