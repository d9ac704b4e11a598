"""Real agents send results where the fleet's row says, and keep as many as it says."""

from typing import Any

import pytest
from django.core.exceptions import ValidationError

from fleet import operating
from pods.agent_redis import redis_users
from tests.support.waiting import until
from tests.support.world import Start, World

pytestmark = pytest.mark.django_db
STREAM = "embedding_tasks"


def edit(world: World, **changes: Any) -> None:
    operating.edit(world.fleet, {"image": "registry.example/agent:1", **changes}, by="test")


def test_a_result_goes_to_the_streams_that_the_fleet_allows_and_no_other(
    world: World, start: Start
) -> None:
    edit(world, reply_to="app-a:*, app-b")
    world.redis.xgroup_create(STREAM, STREAM, "0", mkstream=True)
    for target in ("app-a:one", "app-b", "app-bc", "celery", f"{STREAM}:results:mine", ""):
        world.redis.xadd(STREAM, {"payload": "x", "id": target or "none", "reply_to": target})
    pod = world.booted()
    start(pod, redis_users.pod_address(pod), rate=10_000)
    until(lambda: world.redis.xlen(f"{STREAM}:dead") == 2)
    until(lambda: world.redis.xlen(f"{STREAM}:results") == 1)
    went = {
        target: [fields[b"id"] for _, fields in world.redis.xrange(target)]
        for target in ("app-a:one", "app-b", f"{STREAM}:results:mine", f"{STREAM}:results")
    }
    assert went["app-a:one"] == [b"app-a:one"]
    assert went["app-b"] == [b"app-b"]
    assert went[f"{STREAM}:results:mine"] == [f"{STREAM}:results:mine".encode()]
    letters = [fields for _, fields in world.redis.xrange(f"{STREAM}:dead")]
    assert {fields[b"id"] for fields in letters} == {b"app-bc", b"celery"}
    assert all(b"reply_to" in fields[b"dead_error"] for fields in letters)
    assert not world.redis.exists("app-bc", "celery")


def test_a_capped_result_stream_keeps_about_the_newest(world: World, start: Start) -> None:
    edit(world, longest_results=100)
    world.redis.xgroup_create(STREAM, STREAM, "0", mkstream=True)
    for n in range(1_000):
        world.redis.xadd(STREAM, {"payload": "x", "id": str(n)})
    pod = world.booted()
    start(pod, redis_users.pod_address(pod), rate=10_000)
    until(lambda: world.redis.xinfo_groups(STREAM)[0]["entries-read"] == 1_000)
    until(lambda: world.redis.xinfo_groups(STREAM)[0]["pending"] == 0)
    about = world.redis.xinfo_stream(f"{STREAM}:results")
    assert about["entries-added"] == 1_000
    assert 100 <= about["length"] < 300


@pytest.mark.parametrize(
    ("patterns", "words"),
    [
        ("*", "could be any key"),
        ("app:*, *:results", "could be any key"),
        ("podfleet:emb:*", "could be any key"),
        ("embedding_*", "allows embedding_tasks or its dead letters"),
        ("embedding_tasks:d*", "allows embedding_tasks or its dead letters"),
        ("app[ab]", r"\* is the only special character"),
        ("app (x)", r"\* is the only special character"),
    ],
)
def test_a_stream_of_items_or_commands_is_not_a_target(
    world: World, patterns: Any, words: str
) -> None:
    with pytest.raises(ValidationError, match=words):
        edit(world, reply_to=patterns)
