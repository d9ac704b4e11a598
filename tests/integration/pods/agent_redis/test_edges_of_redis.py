"""Single conditions of the code that reads and writes a fleet's Redis."""

from datetime import timedelta
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from pods.accounts import connecting
from pods.agent.protocol import DATASET
from pods.agent_redis import consumers, heartbeats, redis_users
from pods.emulators.base import SteppedClock
from pods.models import Pod
from pods.states import LOST, READY
from tests.support.factories import a_fleet, a_pod
from tests.support.fixtures import time as time

pytestmark = pytest.mark.django_db


def make_group(client: redis.Redis, fleet: Any) -> None:
    client.xgroup_create(fleet.stream, fleet.group, "0", mkstream=True)


def test_nothing_is_read_of_no_pods() -> None:
    assert heartbeats.read([]).unheard == frozenset()


def test_a_consumer_of_another_fleets_group_says_nothing_about_a_pod(client: redis.Redis) -> None:
    one = a_fleet(name="one", stream="s1", group="g1")
    two = a_fleet(name="two", stream="s2", group="g2")
    pods = [a_pod(one, READY), a_pod(two, READY)]
    for fleet in (one, two):
        make_group(client, fleet)
    client.xgroup_createconsumer("s1", "g1", pods[1].name)
    assert heartbeats.read(pods, consumers=True).consumers == {}
    client.xgroup_createconsumer("s2", "g2", pods[1].name)
    assert set(heartbeats.read(pods, consumers=True).consumers) == {pods[1].pk}


def test_only_pods_whose_group_exists_have_a_group(client: redis.Redis) -> None:
    one = a_fleet(name="one", stream="s1", group="g1")
    two = a_fleet(name="two", stream="s2", group="g2")
    pods = [a_pod(one, READY), a_pod(two, READY)]
    make_group(client, one)
    assert heartbeats.read(pods, consumers=True).grouped == {pods[0].pk}


def test_without_own_users_no_user_is_made_or_deleted(client: redis.Redis, settings: Any) -> None:
    pod = a_pod(a_fleet(), READY)
    stray = f"{pod.name.rpartition('-')[0]}-{'0' * 32}"
    settings.REDIS_USERS = False
    client.acl_setuser(stray, enabled=True, nopass=True)
    client.acl_setuser(pod.name, enabled=True, nopass=True)
    redis_users.keep()
    redis_users.delete(pod)
    assert set(client.acl_users()) == {"default", stray, pod.name}
    settings.REDIS_USERS = True
    redis_users.keep()
    assert set(client.acl_users()) == {"default", pod.name}
    redis_users.delete(pod)
    assert set(client.acl_users()) == {"default"}


def test_only_missing_users_of_pods_at_this_server_are_made(client: redis.Redis) -> None:
    fleet = a_fleet()
    missing, ended = a_pod(fleet, READY), a_pod(fleet, LOST)
    a_pod(fleet, READY, redis_url="redis://127.0.0.1:1/0")
    redis_users.keep()
    redis_users._keep(client, {missing.name, ended.name})  # it ended since the names were read
    assert set(client.acl_users()) == {"default", missing.name}


def test_a_user_may_name_its_connections_where_the_server_knows_that(client: redis.Redis) -> None:
    pod = a_pod()
    redis_users.pod_address(pod)
    assert "+client|setinfo" in client.acl_getuser(pod.name)["commands"]


def test_a_lease_is_raised_and_consumers_are_read_only_where_that_is_asked_for(
    client: redis.Redis, time: SteppedClock
) -> None:
    fleet = a_fleet(stream="s1", group="g1")
    make_group(client, fleet)
    pod = a_pod(fleet, READY)
    lease = connecting.keys(pod).lease
    assert heartbeats.read([pod]).grouped == frozenset()
    assert client.get(lease) is None
    heartbeats.read([pod], renew=True)
    assert client.get(lease) == b"1"
    for kept in (60, 120):  # its mark stays
        time.advance(60)
        assert heartbeats.read([pod]).remembers == {pod.pk: timedelta(seconds=kept)}


INSIDE, PUBLIC = "inside.example:6379/0", "public.example:7000/0"


@pytest.mark.parametrize(
    ("login", "elsewhere", "public", "address"),
    [
        ("boss:secret@", False, f"redis://{PUBLIC}", f"redis://boss:secret@{INSIDE}"),
        ("boss:secret@", True, f"redis://{PUBLIC}", f"redis://boss:secret@{PUBLIC}"),
        ("boss:secret@", True, "", f"redis://boss:secret@{INSIDE}"),
        ("", True, f"redis://{PUBLIC}", f"redis://{PUBLIC}"),
    ],
)
def test_without_own_users_a_pod_gets_the_managers_login_at_the_address_for_pods(
    settings: Any, login: str, public: str, address: str, *, elsewhere: bool
) -> None:
    settings.REDIS_USERS = False
    settings.REDIS_URL, settings.PODS_REDIS_URL = f"redis://{login}{INSIDE}", public
    assert redis_users.pod_address(Pod(), elsewhere=elsewhere) == address


@pytest.mark.parametrize("policy", ["noeviction", "allkeys-lru"])
def test_a_server_that_may_delete_fences_is_told_of(client: redis.Redis, policy: str) -> None:
    pod = a_pod()
    client.config_set("maxmemory-policy", policy)
    try:
        with capture_logs() as logs:
            redis_users.pod_address(pod)
    finally:
        client.config_set("maxmemory-policy", "noeviction")
    told = [entry for entry in logs if entry["event"] == "redis_may_delete_fences"]
    assert len(told) == (policy != "noeviction")


def test_users_get_the_rules_of_this_version_where_pods_have_users(
    client: redis.Redis, settings: Any
) -> None:
    good, bad = a_pod(), a_pod()
    bad.agent = {**bad.agent, "stream": "s*"}
    settings.REDIS_USERS = False
    redis_users.renew([good, bad])
    assert set(client.acl_users()) == {"default"}
    settings.REDIS_USERS = True
    redis_users.renew([good, bad])
    assert set(client.acl_users()) == {"default", good.name}


@pytest.mark.parametrize(
    ("agent", "differs"),
    [
        ({}, {"stream": True, "rows": False, "code": False}),
        ({"kind": DATASET}, {"stream": True, "rows": True, "code": False}),
        ({"bundle": "ab" * 32}, {"stream": True, "rows": False, "code": True}),
        ({"celery_app": "proj:app"}, {"stream": False, "rows": False, "code": False}),
    ],
)
def test_a_pods_user_reaches_what_its_agent_works_with(
    agent: dict[str, str], differs: dict[str, bool]
) -> None:
    pod = a_pod(a_fleet(name="one", stream="s1", group="g1"))
    pod.agent = {**pod.agent, **agent}
    told = " ".join(redis_users.rules(pod))
    keys = connecting.keys(pod)
    asked = {"stream": "~s1)", "rows": f"~{keys.rows})", "code": f"%R~{keys.code}*"}
    assert {name: key in told for name, key in asked.items()} == differs


def test_a_pods_address_has_no_other_credentials_than_its_own() -> None:
    given = "redis://:secret@redis.example:6379/3?username=boss&password=secret&timeout=3"
    made = redis_users._with_user(given, "pod", "own")
    assert made == "redis://pod:own@redis.example:6379/3?timeout=3"


def test_names_of_a_fleet_that_are_not_allowed_give_its_pods_no_user_and_others_get_theirs(
    client: redis.Redis,
) -> None:
    good = a_pod(a_fleet(name="one", stream="s1", group="g1"), READY)
    bad = a_pod(a_fleet(name="two", stream="s2", group="g2"), READY)
    Pod.objects.filter(pk=bad.pk).update(agent={**bad.agent, "stream": "s*"})
    redis_users.keep()
    assert set(client.acl_users()) == {"default", good.name}


def test_a_consumer_of_a_pod_that_may_run_is_kept(client: redis.Redis) -> None:
    fleet = a_fleet(stream="s1", group="g1")
    make_group(client, fleet)
    pod = a_pod(fleet, READY)
    client.xgroup_createconsumer("s1", "g1", pod.name)
    assert consumers.sweep() == 0
    Pod.objects.filter(pk=pod.pk).update(state="lost")
    a_pod(fleet, READY)
    assert consumers.sweep() == 1
