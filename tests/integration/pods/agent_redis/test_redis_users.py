"""A pod's own Redis user: its rights, its end, and what happens if a server refuses users."""

import os
import signal
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import redis
from structlog.testing import capture_logs

from pods import lifecycle
from pods.accounts import connecting
from pods.agent.control import Control
from pods.agent.forming import Limits
from pods.agent.patience import Patience
from pods.agent.progress import Progress
from pods.agent.protocol import SCRIPTS, AgentSettings, Keys
from pods.agent.remembering import Remembering
from pods.agent.stream import MOST_FITS, Stream
from pods.agent_redis import fencing, redis_users
from pods.models import Pod, PodEvent
from pods.states import TERMINATING
from tests.support.factories import a_fleet
from tests.support.own_redis import own_redis
from tests.support.waiting import patience, until
from tests.support.world import Start, World, state

pytestmark = pytest.mark.django_db


def fill(world: World, stream: str = "embedding_tasks", count: int = 40) -> None:
    world.redis.xgroup_create(stream, stream, "0", mkstream=True)
    for n in range(count):
        world.redis.xadd(stream, {"payload": f"item {n}"})


def trail(world: World, stream: str = "embedding_tasks") -> tuple[int, ...]:
    """The values that an acknowledgement or a result would change."""
    group = world.redis.xinfo_groups(stream)[0]
    return (group["pending"], world.redis.xlen(f"{stream}:results"), world.redis.xlen(stream))


def refused_by_name(world: World, pod: Pod) -> bool:
    log = world.redis.execute_command("ACL", "LOG")
    facts = [dict(zip(entry[::2], entry[1::2], strict=True)) for entry in log]
    return any(f[b"reason"] == b"auth" and f[b"username"] == pod.name.encode() for f in facts)


def in_work(world: World, pod: Pod) -> bool:
    found = world.redis.xinfo_consumers("embedding_tasks", "embedding_tasks")
    mine = [c for c in found if c["name"] == pod.name.encode()]
    return bool(mine and mine[0]["pending"] and world.redis.xlen("embedding_tasks:results"))


@pytest.mark.fault(67)
@pytest.mark.parametrize("own_user", [True, False])
def test_a_frozen_agent_that_was_written_off_changes_nothing_when_it_continues(
    world: World, start: Start, settings: object, own_user: bool
) -> None:
    settings.REDIS_USERS = own_user  # type: ignore[attr-defined]
    fill(world)
    pod = world.booted()
    Pod.objects.filter(pk=pod.pk).update(silent_seconds=1)
    pod.refresh_from_db()
    world.redis.execute_command("ACL", "LOG", "RESET")
    agent = start(pod, redis_users.pod_address(pod))
    until(lambda: in_work(world, pod))
    os.killpg(agent.pid, signal.SIGSTOP)
    # The server's own clock measures the silence; ours, since when the server was heard.
    until(lambda: world.rig.clock.advance(30) or world.sweep() or state(pod) == "terminating")
    world.work()
    assert pod.name not in world.redis.acl_users()
    before = trail(world)
    assert before[0] > 0
    os.killpg(agent.pid, signal.SIGCONT)
    if own_user:
        until(lambda: refused_by_name(world, pod))
        agent.terminate()
    assert agent.wait(timeout=patience(30)) == 4
    assert trail(world) == before


def test_an_agent_does_all_its_work_with_its_own_user(world: World, start: Start) -> None:
    fill(world, count=20)
    world.redis.xadd("embedding_tasks", {"payload": "x", "reply_to": "nowhere"})
    ghost = world.redis.xadd("embedding_tasks", {"payload": "left by another"})
    world.redis.xreadgroup("embedding_tasks", "ghost", {"embedding_tasks": ">"}, count=1)
    pod = world.booted()
    Pod.objects.filter(pk=pod.pk).update(agent={**pod.agent, "claim_idle_seconds": 1.0})
    pod.refresh_from_db()
    agent = start(pod, redis_users.pod_address(pod))
    until(lambda: world.redis.xlen("embedding_tasks:results") == 21)
    until(lambda: world.redis.xlen("embedding_tasks:dead") == 1)
    assert ghost
    agent.terminate()
    assert agent.wait(timeout=patience(30)) == 0
    assert trail(world)[0] == 0
    assert world.redis.xinfo_consumers("embedding_tasks", "embedding_tasks")[0]["name"] == b"ghost"
    assert world.redis.hget(connecting.keys(pod).pod(pod.name), "note") == b""
    refusals = world.redis.execute_command("ACL", "LOG")
    assert [entry for entry in refusals if pod.name.encode() in entry] == []


@pytest.mark.parametrize("writes", [False, True])
def test_a_pods_endless_script_freezes_redis_until_it_is_killed_or_redis_restarts(
    world: World, tmp_path: Path, writes: bool
) -> None:
    """What is left in docs/explanation/security.md: a pod may load scripts of its own."""
    with own_redis(tmp_path) as server:
        pod = world.requested()
        Pod.objects.filter(pk=pod.pk).update(redis_url=server.url)
        pod.refresh_from_db()
        theirs = redis.Redis.from_url(redis_users.pod_address(pod), protocol=2)
        manager = redis.Redis.from_url(server.url, protocol=2, socket_timeout=5)
        manager.config_set("busy-reply-threshold", 50)
        first = "redis.call('HSET', KEYS[1], 'done', '1') " if writes else ""
        script = theirs.script_load(f"{first}while true do end")
        heartbeat = connecting.keys(pod).pod(pod.name)

        def freeze() -> None:
            with suppress(redis.RedisError):
                theirs.evalsha(script, 1, heartbeat)

        frozen = threading.Thread(target=freeze)
        frozen.start()
        until(lambda: is_busy(manager))
        if writes:
            with pytest.raises(redis.ResponseError, match="UNKILLABLE"):
                manager.script_kill()
            server.kill()
            server.start()
        else:
            manager.script_kill()
        frozen.join(patience(10))
        assert not frozen.is_alive()
        assert manager.ping()


def is_busy(client: "redis.Redis") -> bool:
    """Whether the server refuses everybody because a script runs."""
    try:
        client.ping()
    except redis.ResponseError as exc:
        return "BUSY" in str(exc)
    return False


def test_a_pods_user_may_copy_an_item_and_ask_for_its_part(world: World) -> None:
    fill(world, count=12)
    pod = world.spawn(world.requested())
    world.redis.xreadgroup("embedding_tasks", "slow", {"embedding_tasks": ">"}, count=2)
    told = AgentSettings(redis_url=redis_users.pod_address(pod), pod=pod.name, **pod.agent)
    stream = Stream(told)
    slow, marked = (item.entry for item in stream.pending(10))
    stream.mark([marked])
    assert stream.copy(marked, "slow") is None
    assert stream.copy(slow, "slow") is not None
    for other in ("third", "fourth"):
        world.redis.xgroup_createconsumer("embedding_tasks", "embedding_tasks", other)
    assert len(stream.read(64, 10_000, equal_part=True)[0]) == 4


def test_a_pods_user_may_share_what_fits_into_its_gpu(world: World) -> None:
    pod = world.spawn(world.requested())
    told = AgentSettings(redis_url=redis_users.pod_address(pod), pod=pod.name, **pod.agent)
    stream, key = Stream(told), connecting.keys(pod).fits
    assert stream.fits("f")[0] == b""
    assert stream.fits("f", after=b"8 0.0 1")[0] == b"8 0.0 1"
    assert world.redis.hget(key, "f") == b"8 0.0 1"
    world.redis.hset(key, mapping={f"f{n}": "x" for n in range(MOST_FITS)})
    stream.fits("f", before=b"8 0.0 1", after=b"4 0.0 1")
    assert world.redis.hgetall(key) == {b"f": b"4 0.0 1"}


def test_an_agent_whose_user_is_older_than_the_key_works_without_it(world: World) -> None:
    pod = world.spawn(world.requested())
    told = AgentSettings(redis_url=redis_users.pod_address(pod), pod=pod.name, **pod.agent)
    before = [rule for rule in redis_users.rules(pod) if connecting.keys(pod).fits not in rule]
    world.redis.execute_command("ACL", "SETUSER", pod.name, *before)
    patient = Patience(Progress(), Control(), 4)
    agent = Remembering(told, Stream(told), patient, lambda _: "NVIDIA L4 22 GiB", {})
    agent.found(Limits(8))
    agent._write(Limits(8), 0)
    assert agent.limits() == Limits(8)


@pytest.mark.fault(66)
def test_a_pods_credentials_reach_no_key_of_another_fleet(world: World) -> None:
    other = a_fleet(name="other", stream="others_tasks", group="others", accounts=[world.account])
    fill(world, "others_tasks", 3)
    fill(world)
    pod = world.spawn(world.requested())
    theirs, own = Keys(other.name), Keys("emb")
    world.redis.hset(theirs.pod("p"), "done", "1")
    world.redis.hset(theirs.fits, "f", "8 0.0 1")
    world.redis.set(own.fence("its-sister"), "1")
    client = redis.Redis.from_url(redis_users.pod_address(pod), protocol=2)
    assert client.ping()
    script = client.register_script((SCRIPTS / "read.lua").read_text())
    assert script(
        keys=["embedding_tasks", own.fence(pod.name)], args=["embedding_tasks", "c", 1, 1]
    )
    forbidden: list[tuple[object, ...]] = [
        ("XREADGROUP", "GROUP", "others", "me", "STREAMS", "others_tasks", ">"),
        ("XACK", "others_tasks", "others", "1-1"),
        ("XADD", "others_tasks", "*", "a", "b"),
        ("XADD", "others_tasks:results", "*", "a", "b"),
        ("XADD", "embedding_tasks_too", "*", "a", "b"),
        ("XRANGE", "others_tasks", "-", "+"),
        ("GET", theirs.command("p")),
        ("HSET", theirs.pod("p"), "done", "9"),
        ("HSET", own.pod("its-sister"), "done", "9"),
        ("PEXPIRE", own.fence(pod.name), 1),
        ("PEXPIRE", own.fence("its-sister"), 1),
        ("DEL", own.fence(pod.name)),
        ("SET", own.command("its-sister"), "stop"),
        ("SET", own.lease, "9"),
        ("SET", theirs.offered("1-1"), "1"),
        ("HGET", theirs.fits, "f"),
        ("HSET", theirs.fits, "f", "1 0.0 1"),
        ("DEL", theirs.fits),
        ("SET", own.fits, "1"),
        ("RENAME", own.fits, own.lease),
        ("XADD", "celery", "*", "a", "b"),
        ("KEYS", "*"),
        ("FLUSHALL",),
        ("CONFIG", "GET", "*"),
        ("ACL", "LIST"),
        ("EVAL", "return 1", 0),
    ]
    for words in forbidden:
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*words)
    with pytest.raises(redis.ResponseError, match=r"(?i)permission"):
        script(keys=["others_tasks", theirs.fence(pod.name)], args=["others", "me", 1, 1])
    assert world.redis.xinfo_groups("others_tasks")[0]["pending"] == 0


@pytest.mark.fault(45)
def test_users_that_a_server_lost_are_created_again(world: World, start: Start) -> None:
    fill(world)
    pod = world.booted()
    agent = start(pod, redis_users.pod_address(pod))
    until(lambda: in_work(world, pod))
    world.redis.acl_deluser(pod.name)  # as a restart does: servers do not keep users in their data
    until(lambda: refused_by_name(world, pod))
    redis_users.keep()
    until(lambda: world.redis.xlen("embedding_tasks:results") == 40)
    assert agent.poll() is None
    assert trail(world)[0] == 0


def test_a_user_is_deleted_with_its_pod_and_other_users_stay(world: World) -> None:
    pod, sister = world.booted(), world.booted()
    world.redis.acl_setuser("somebody-else", enabled=True, nopass=True)
    fencing.fence(pod)
    redis_users._make(world.redis, [pod])  # a sweep that had read the row before
    names = {"default", "somebody-else", sister.name}
    assert set(world.redis.acl_users()) == names
    sister.refresh_from_db()
    lifecycle.move(sister, TERMINATING, by="test", because="its teardown never came to fence it")
    redis_users.keep()
    assert set(world.redis.acl_users()) == names - {sister.name}


def manager_without_acl(world: World, redis_url: str) -> str:
    world.redis.execute_command(
        "ACL", "SETUSER", "manager", "on", ">m", "~*", "&*", "+@all", "-acl"
    )
    return redis_users._with_user(redis_url, "manager", "m")


def test_where_the_manager_may_make_no_users_no_pod_is_made(world: World, redis_url: str) -> None:
    pod = world.spawn(world.requested(redis_url=manager_without_acl(world, redis_url)))
    assert pod.state == "failed"
    end = PodEvent.objects.get(pod=pod, after="failed")
    assert end.rule == "cannot_connect"
    assert "give the manager's user +acl, or set PODFLEET_REDIS_USERS=0" in end.because
    assert not world.living()


def test_a_pod_gets_the_managers_credentials_only_if_the_operator_asks_for_that(
    world: World, redis_url: str, settings: object
) -> None:
    settings.REDIS_USERS = False  # type: ignore[attr-defined]
    address = manager_without_acl(world, redis_url)
    pod = world.spawn(world.requested(redis_url=address))
    assert pod.state == "booting"
    assert redis_users.pod_address(pod) == address
    fencing.fence(pod)
    assert world.redis.exists(connecting.keys(pod).fence(pod.name))


def test_a_server_that_lacks_a_command_gives_a_user_without_it(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis 7.0 has no CLIENT SETINFO; this server has no CLIENT TOMORROW."""
    monkeypatch.setattr(redis_users, "SINCE_7_2", ("client|tomorrow",))
    pod = world.spawn(world.requested())
    address = redis_users.pod_address(pod)
    assert redis.Redis.from_url(address, protocol=2).ping()
    assert f"//{pod.name}:" in address


def test_no_password_is_in_our_logs_an_event_or_the_servers_log(world: World) -> None:
    world.redis.config_set("slowlog-log-slower-than", 0)
    with capture_logs() as logs:
        pod = world.spawn(world.requested())
        address = redis_users.pod_address(pod)
        redis_users.keep()
    slow = repr(world.redis.slowlog_get(200))
    world.redis.config_set("slowlog-log-slower-than", 10_000)
    password = redis_users._passwords(pod)[0]
    assert password in address
    said = repr(logs) + slow + repr([e.because for e in PodEvent.objects.all()])
    assert password not in said
    assert password not in repr(Pod.objects.filter(pk=pod.pk).values().get())


def test_a_changed_field_key_does_not_lock_pods_out(world: World, settings: object) -> None:
    pod = world.booted()
    address = redis_users.pod_address(pod)
    old = settings.FIELD_KEYS  # type: ignore[attr-defined]
    settings.FIELD_KEYS = ("a new first key", *old)  # type: ignore[attr-defined]
    world.redis.acl_deluser(pod.name)
    redis_users.keep()
    assert redis.Redis.from_url(address, protocol=2).ping()


def test_the_user_of_a_celery_pod_reaches_only_its_agents_own_keys(world: World) -> None:
    pod = world.booted()
    Pod.objects.filter(pk=pod.pk).update(agent={**pod.agent, "celery_app": "proj.celery:app"})
    pod.refresh_from_db()
    client = redis.Redis.from_url(redis_users.pod_address(pod), protocol=2)
    client.hset(connecting.keys(pod).pod(pod.name), "done", "1")
    for words in (("XADD", "embedding_tasks", "*", "a", "b"), ("LPOP", "embedding_tasks")):
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*words)


def test_a_pod_that_was_fenced_meanwhile_does_not_get_a_user(world: World) -> None:
    pod = world.booted()
    assert redis.Redis.from_url(redis_users.pod_address(pod), protocol=2).ping()
    fencing.fence(pod)
    address = redis_users.pod_address(
        pod
    )  # a worker that stood still while another worker fenced the pod
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(address, protocol=2).ping()


@pytest.mark.parametrize("stream", ['"*"', "x others_tasks", "'others_tasks'", "podfleet:b:lease"])
def test_a_pod_of_a_fleet_with_an_odd_stream_gets_no_user_and_no_machine(
    world: World, stream: str
) -> None:
    pod = world.requested()  # an older version let such a name pass
    Pod.objects.filter(pk=pod.pk).update(agent={**pod.agent, "stream": stream, "results": ""})
    pod = world.spawn(pod)
    assert pod.state == "failed"
    assert PodEvent.objects.get(pod=pod, after="failed").rule == "cannot_connect"
    assert pod.name not in world.redis.acl_users()
    assert not world.living()


def test_one_pod_with_an_odd_stream_costs_no_other_pod_its_user(world: World) -> None:
    odd, usual = world.booted(), world.booted()
    Pod.objects.filter(pk=odd.pk).update(agent={**odd.agent, "stream": "a b"})
    world.redis.acl_deluser(odd.name, usual.name)
    redis_users.keep()
    assert set(world.redis.acl_users()) == {"default", usual.name}
