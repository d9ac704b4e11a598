"""A user's own consumer with its pod's name and no heartbeat lives and ends like an agent."""

import os
import shutil
import subprocess
from datetime import timedelta

import pytest

from config.env import ROOT
from fleet.decision.values import PodFacts
from fleet.tick import gathering
from pods.accounts import connecting
from pods.agent.protocol import SCRIPTS, Command
from pods.agent_redis import fencing, redis_users
from pods.models import Pod
from tests.support.waiting import patience, until
from tests.support.world import World, state

pytestmark = pytest.mark.django_db
STREAM = GROUP = "embedding_tasks"
OTHER_LANGUAGE = ROOT / "tests" / "support" / "agents" / "minimal_agent.mjs"


def read(world: World, pod: Pod) -> list[bytes]:
    """Read as the pod's consumer, also if there are no items; return what it gets."""
    found = world.redis.xreadgroup(GROUP, pod.name, {STREAM: ">"})
    return [entry for entry, _ in found[0][1]] if found else []


def facts_of(world: World, pod: Pod) -> PodFacts:
    gathered = gathering.gather(world.fleet, now=world.rig.clock())
    return next(p for p in gathered.seen.pods if p.pod_id == pod.pk)


@pytest.fixture
def pod(world: World) -> Pod:
    world.redis.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    pod = world.spawn(world.requested())
    world.run(60)
    world.sweep()
    assert state(pod) == "booting"
    return pod


def test_its_first_read_makes_the_pod_ready(world: World, pod: Pod) -> None:
    read(world, pod)
    world.sweep()
    assert state(pod) == "ready"
    assert "its consumer reads the backlog" in Pod.objects.get(pk=pod.pk).because


def test_its_pod_lives_while_it_asks_for_items_and_is_ended_after_that(
    world: World, pod: Pod
) -> None:
    read(world, pod)
    world.sweep()
    world.rig.clock.advance(200)
    world.sweep()
    assert state(pod) == "ready"
    world.redis.xgroup_delconsumer(STREAM, GROUP, pod.name)
    world.sweep()
    assert state(pod) == "terminating"


def test_it_is_busy_while_items_are_pending_and_idle_after_the_last_one(
    world: World, pod: Pod
) -> None:
    read(world, pod)
    world.sweep()
    world.rig.clock.advance(30)
    seen = facts_of(world, pod)
    assert (seen.in_flight, seen.idle_for) == (0, timedelta(seconds=30))  # it never got one
    world.redis.xadd(STREAM, {"payload": "x"})
    [entry] = read(world, pod)
    seen = facts_of(world, pod)
    assert (seen.in_flight, seen.idle_for) == (1, None)
    world.redis.xack(STREAM, GROUP, entry)
    seen = facts_of(world, pod)
    assert seen.in_flight == 0
    assert seen.idle_for is not None
    assert seen.idle_for < timedelta(seconds=20)
    assert gathering.gather(world.fleet, now=world.rig.clock()).seen.proven


def test_the_protocol_page_is_enough_to_write_an_agent_in_another_language(
    world: World, pod: Pod
) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("no node on the path")
    Pod.objects.filter(pk=pod.pk).update(agent={**pod.agent, "heartbeat_seconds": 0.1})
    pod.refresh_from_db()
    for n in range(200):
        world.redis.xadd(STREAM, {"payload": f"grüße {n}", "id": f"mine-{n}"})
    world.redis.xadd(STREAM, {"payload": "x", "reply_to": "elsewhere"})
    # with its own Redis user: its rights are sufficient, and the page lists them
    env = connecting.spec(pod, redis_url=redis_users.pod_address(pod)).env
    with subprocess.Popen(
        [node, str(OTHER_LANGUAGE), str(SCRIPTS)], env={**os.environ, **env}
    ) as agent:
        until(lambda: world.redis.xlen(f"{STREAM}:results") == 200)
        until(lambda: world.redis.xlen(f"{STREAM}:dead") == 1)
        until(lambda: world.sweep() or state(pod) == "ready")
        until(lambda: facts_of(world, pod).idle_for)
        assert facts_of(world, pod).in_flight == 0
        fencing.send_command(pod, Command.DRAIN)
        assert agent.wait(timeout=patience(30)) == 0
    [(_, first), *_] = world.redis.xrange(f"{STREAM}:results", count=1)
    assert (first[b"id"], first[b"result"].decode()) == (b"mine-0", "GRÜSSE 0")
    assert first[b"pod"] == pod.name.encode()
    assert world.redis.hget(connecting.keys(pod).pod(pod.name), "state") == b"drained"
    assert world.redis.xpending(STREAM, GROUP)["pending"] == 0
    assert world.redis.xinfo_consumers(STREAM, GROUP) == []
