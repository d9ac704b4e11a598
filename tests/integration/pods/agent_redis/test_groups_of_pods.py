"""Which consumers a sweep removes, and what one reading of heartbeats asks for and says."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
import redis

from pods.accounts import connecting
from pods.agent.protocol import AgentState, Heartbeat, Keys
from pods.agent_redis import consumers, heartbeats
from pods.agent_redis.heartbeats import HeartbeatsUnknown
from pods.emulators.base import SteppedClock
from pods.models import Installation, Pod
from pods.states import LOST, READY, TERMINATED
from tests.support.factories import NOON, a_fleet, a_pod
from tests.support.fixtures import time as time

pytestmark = pytest.mark.django_db
NOWHERE = "redis://127.0.0.1:1/0"


def reads(client: redis.Redis, pod: Pod, *names: str) -> None:
    """Let these consumers read with the group of the pod."""
    stream, group = pod.agent["stream"], pod.agent["group"]
    client.xgroup_create(stream, group, "0", mkstream=True)
    for name in names:
        client.xreadgroup(group, name, {stream: ">"}, count=1)


def left(client: redis.Redis, pod: Pod) -> set[str]:
    found: Any = client.xinfo_consumers(pod.agent["stream"], pod.agent["group"])
    return {consumer["name"].decode() for consumer in found}


def test_a_sweep_removes_the_consumers_of_ended_pods_that_hold_nothing(
    time: SteppedClock, client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consumers, "AT_ONCE", 1)  # others take no place of the one that has ended
    fleet = a_fleet(stream="s", group="g")
    runs, ended = a_pod(fleet, READY), a_pod(fleet, TERMINATED)
    a_pod(a_fleet(stream="missing"), READY)
    a_pod(a_fleet(stream="s2"), READY, redis_url=NOWHERE)
    holds = {f"{Installation.tag()}-0-{n}" for n in (1, 2)}  # before others in the server's order
    for _ in holds:
        client.xadd("s", {"payload": "x"})
    reads(client, runs, *holds, runs.name, ended.name, "a person's")
    for gone in (1, 0):
        assert consumers.sweep() == gone
        assert left(client, runs) == {*holds, runs.name, "a person's"}


@pytest.mark.parametrize(("minutes", "swept"), [(60, 1), (61, 0)])
def test_a_group_is_swept_for_a_while_after_its_last_pod_has_ended(
    time: SteppedClock, client: redis.Redis, minutes: int, swept: int
) -> None:
    pod = a_pod(state=LOST, ended_at=NOON - timedelta(minutes=minutes))
    reads(client, pod, pod.name)
    assert consumers.sweep() == swept


def test_each_pods_own_server_is_swept(
    time: SteppedClock, client: redis.Redis, redis_url: str, settings: Any
) -> None:
    pod = a_pod(state=READY, redis_url=redis_url)
    reads(client, pod, pod.name, f"{Installation.tag()}-ended")
    settings.REDIS_URL = NOWHERE
    assert consumers.sweep() == 1


def beats(client: redis.Redis, pod: Pod, **fields: Any) -> None:
    said: dict[Any, Any] = {**Heartbeat(state=AgentState.WORKING).fields(), **fields}
    seconds, _ = client.time()
    key = connecting.keys(pod).pod(pod.name)
    client.hset(key, mapping={"at_ms": (seconds - 5) * 1000, **said})


def test_a_reading_says_of_each_pod_what_is_known(time: SteppedClock, client: redis.Redis) -> None:
    fleet = a_fleet(stream="s", group="g")
    well, odd, silent = (a_pod(fleet, READY) for _ in range(3))
    plain = a_pod(a_fleet(stream="missing"), READY)
    spoilt = a_pod(fleet, READY)
    away = a_pod(fleet, READY, redis_url=NOWHERE)
    beats(client, well)
    beats(client, odd, done="many")
    client.set(connecting.keys(spoilt).pod(spoilt.name), "not a hash")
    reads(client, well, well.name)
    found = heartbeats.read([well, odd, silent, plain, spoilt, away], consumers=True)
    assert found.beats.keys() == {well.pk}
    assert found.unread.keys() == {odd.pk}
    assert timedelta(seconds=4) < found.unread[odd.pk] < timedelta(minutes=5)
    assert found.unheard == {spoilt.pk, away.pk}
    assert found.grouped == {well.pk, odd.pk, silent.pk, spoilt.pk}
    assert found.consumers.keys() == {well.pk}
    alone = heartbeats.read([well])
    assert (alone.consumers, alone.grouped) == ({}, frozenset())
    with pytest.raises(HeartbeatsUnknown):
        heartbeats.read([away])
    assert heartbeats.read([]).beats == {}


@pytest.mark.parametrize("renew", [True, False])
def test_only_a_manager_that_looks_after_a_fleet_tells_its_agents_so(
    time: SteppedClock, client: redis.Redis, *, renew: bool
) -> None:
    pods: Sequence[Pod] = [a_pod(), a_pod()]
    heartbeats.read(pods[:1], renew=renew)
    leases = [client.get(Keys(pod.agent["fleet"]).lease) for pod in pods]
    assert leases == [b"1" if renew else None, None]


def test_how_long_a_server_has_kept_its_data(time: SteppedClock, client: redis.Redis) -> None:
    pod = a_pod()

    def remembered() -> timedelta:
        return heartbeats.read([pod]).remembers[pod.pk]

    assert remembered() == timedelta(0)
    time.advance(60)
    assert remembered() == timedelta(minutes=1)
    time.advance(-120)  # the clock of another host
    assert remembered() == timedelta(0)
    mark = heartbeats._memory(pod.agent["fleet"])
    for spoilt in ({"since_ms": "soon"}, {"run": "another"}):
        client.hset(mark, mapping=spoilt)
        assert remembered() == timedelta(0)
        time.advance(5)
        assert remembered() == timedelta(seconds=5)


def test_a_mark_is_of_one_run_of_the_server_where_it_may_be_asked_for(
    time: SteppedClock, client: redis.Redis, redis_url: str
) -> None:
    pod = a_pod()
    mark = heartbeats._memory(pod.agent["fleet"])
    heartbeats.read([pod])
    run: Any = client.info("server")
    assert client.hget(mark, "run") == run["run_id"].encode()
    client.acl_setuser(
        "no-info", enabled=True, passwords=["+pw"], keys=["*"], commands=["+@all", "-info"]
    )
    host = redis_url.rpartition("@")[2]
    pod.redis_url = f"redis://no-info:pw@{host}"
    for minutes in (0, 1):
        kept = heartbeats.read([pod]).remembers[pod.pk]
        assert kept == timedelta(minutes=minutes)
        time.advance(60)
    assert client.hget(mark, "run") == b""
