"""The depth of a dataset is in rows, and no lost count keeps pods alive or ends them."""

import pytest
import redis

from fleet.backlog.base import BacklogUnknown, Depth, RowCounts
from fleet.backlog.probes import build_probe
from fleet.datasets.standing import rows_key
from tests.support.datasets import (
    FLEET,
    GROUP,
    STREAM,
    a_source,
    added,
    bury,
    finish,
    ranges_of,
    take,
)
from tests.support.redis_clients import counting, may_only_read


def depth(redis_url: str, *, fed: bool = True) -> Depth:
    probe = build_probe(
        "dataset", url=redis_url, name=STREAM, group=GROUP, rows=rows_key(FLEET), fed=fed
    )
    return probe.measure()


def test_the_depth_counts_rows_and_ranges(client: redis.Redis, redis_url: str) -> None:
    added(client, ranges_of(a_source()))
    seen = depth(redis_url)
    assert (seen.items, seen.waiting, seen.pending, seen.ranges) == (1000, 1000, 0, 10)
    first, second, _third = take(client, 3)
    finish(client, first, done=95, failed=5)
    bury(client, second)
    seen = depth(redis_url)
    assert (seen.items, seen.waiting, seen.pending, seen.ranges) == (800, 700, 100, 8)
    assert (seen.rows, seen.dead) == (
        RowCounts(planned=1000, done=95, failed=5, dead=100),
        1,
    )
    assert seen.oldest_age is not None


def test_it_is_one_round_trip_for_a_user_who_may_only_read(
    client: redis.Redis, redis_url: str
) -> None:
    added(client, ranges_of(a_source()))
    address = may_only_read(client, redis_url)
    depth(address)
    from pods.base.redis import redis_client

    with counting(redis_client(address)) as sent:
        assert depth(address).items == 1000
    assert sent == ["EVAL_RO"]


def test_it_is_zero_if_no_range_is_left_whatever_the_counts_say(
    client: redis.Redis, redis_url: str
) -> None:
    added(client, ranges_of(a_source()))
    for entry in take(client, 10):
        finish(client, entry, done=90)  # fewer rows than were planned
    assert depth(redis_url).items == 0


def test_a_range_that_is_left_has_a_row_whatever_the_counts_say(
    client: redis.Redis, redis_url: str
) -> None:
    added(client, ranges_of(a_source()))
    client.hincrby(rows_key(FLEET), "done", 5000)
    seen = depth(redis_url)
    assert (seen.items, seen.ranges) == (10, 10)


def test_a_lost_redis_is_unknown_and_not_zero(client: redis.Redis, redis_url: str) -> None:
    stream = added(client, ranges_of(a_source()))
    client.flushall()
    with pytest.raises(BacklogUnknown, match="no stream ranges"):
        depth(redis_url)
    client.xgroup_create(STREAM, GROUP, id="0", mkstream=True)  # as `fleet set` does
    with pytest.raises(BacklogUnknown, match="has lost the ranges"):
        depth(redis_url)
    assert depth(redis_url, fed=False).items == 0
    standing = stream.take_over()
    with pytest.raises(BacklogUnknown, match="has lost the ranges"):  # until the sink was read
        depth(redis_url)
    stream.restore(standing, done=0, failed=0, schema=b"")
    assert depth(redis_url).items == 0


def test_a_missing_group_and_another_type_are_unknown(client: redis.Redis, redis_url: str) -> None:
    client.xadd(STREAM, {"a": "b"})
    with pytest.raises(BacklogUnknown, match="no group g"):
        depth(redis_url)
    client.delete(STREAM)
    client.set(STREAM, "x")
    with pytest.raises(BacklogUnknown, match="is not a stream"):
        depth(redis_url)


def test_the_depth_is_right_after_ranges_were_removed(client: redis.Redis, redis_url: str) -> None:
    added(client, ranges_of(a_source()))
    entries = take(client, 2)
    client.xdel(STREAM, *[e for e, _ in client.xrange(STREAM)[5:7]])
    seen = depth(redis_url)
    assert seen.ranges == 8
    assert entries
