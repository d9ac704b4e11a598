"""The consumer names of ended pods are removed once no items are pending under them."""

import pytest
from redis import Redis

from pods import tasks
from pods.agent_redis import consumers, fencing
from pods.states import LOST, READY
from tests.support.factories import a_fleet, a_pod

pytestmark = pytest.mark.django_db
STREAM, GROUP = "tasks", "workers"


@pytest.fixture
def client(redis_url: str) -> Redis:
    client = Redis.from_url(redis_url, protocol=2, decode_responses=True)
    client.xgroup_create(STREAM, GROUP, "0", mkstream=True)
    return client


def take(client: Redis, name: str, items: int = 0) -> list[str]:
    """Read as a consumer of this name, and leave this many items pending."""
    client.xgroup_createconsumer(STREAM, GROUP, name)
    for _ in range(items):
        client.xadd(STREAM, {"payload": "x"})
    got = client.xreadgroup(GROUP, name, {STREAM: ">"}, count=items) if items else []
    return [entry for _, entries in got for entry, _ in entries]


def names(client: Redis) -> set[str]:
    return {consumer["name"] for consumer in client.xinfo_consumers(STREAM, GROUP)}


@pytest.mark.fault(62)
def test_a_name_with_items_stays_until_others_have_claimed_them(client: Redis) -> None:
    fleet = a_fleet(stream=STREAM, group=GROUP)
    ended, living = a_pod(fleet, LOST), a_pod(fleet, READY)
    entries = take(client, ended.name, items=2)
    for name in (living.name, "somebody-elses", "podfleet-released"):
        take(client, name)
    fencing.forget(ended)
    tasks.reconcile()
    everybody = {ended.name, living.name, "somebody-elses", "podfleet-released"}
    assert names(client) == everybody
    client.xclaim(STREAM, GROUP, living.name, 0, entries)
    tasks.reconcile()
    assert names(client) == everybody - {ended.name}
    assert client.xpending(STREAM, GROUP)["pending"] == 2


def test_a_name_whose_row_was_pruned_is_removed_too(client: Redis) -> None:
    fleet = a_fleet(stream=STREAM, group=GROUP)
    living = a_pod(fleet, READY)
    pruned = f"{living.name.rpartition('-')[0]}-{'0' * 32}"
    take(client, pruned)
    take(client, f"{pruned}-with-items", items=1)
    assert consumers.sweep() == 1
    assert names(client) == {f"{pruned}-with-items"}


def test_a_missing_server_or_group_does_not_stop_the_sweep(client: Redis) -> None:
    here = a_fleet(stream=STREAM, group=GROUP)
    a_pod(here, READY, redis_url="redis://127.0.0.1:1/0")
    a_pod(a_fleet(stream="none", group="none"), READY)
    client.set("text", "no stream")
    a_pod(a_fleet(stream="text", group="none"), READY)
    gone = f"{a_pod(here, READY).name.rpartition('-')[0]}-{'0' * 32}"
    take(client, gone)
    assert consumers.sweep() == 1
