"""The stream stays short while it is fed, also if a process is killed meanwhile."""

from pathlib import Path
from typing import Any

import pytest
import redis

from fleet.backlog.redis_streams import AHEAD, RedisStreamProbe
from fleet.items.feeding import enqueue
from fleet.items.room import SHORTEST, Room
from pods.base.redis import make_consumer_group
from tests.support.items import GROUP, STREAM, Drain, Start, text_file
from tests.support.waiting import until


def test_the_stream_never_exceeds_its_maximum_length_and_no_item_is_missing(
    client: redis.Redis, redis_url: str, tmp_path: Path
) -> None:
    path = text_file(tmp_path, 20_000)
    make_consumer_group(client, STREAM, GROUP)
    drain = Drain(redis_url, until_items=20_000)
    fed = enqueue(client, STREAM, GROUP, [path], max_length=2_000)
    until(drain.finished)
    assert fed.added == 20_000
    assert drain.seen == [b"a.txt:%d" % n for n in range(1, 20_001)]
    assert SHORTEST <= drain.longest <= 2_000
    assert not client.exists(AHEAD + STREAM)


def test_items_that_are_not_on_the_stream_yet_count_as_backlog(
    client: redis.Redis, start: Start, tmp_path: Path, redis_url: str
) -> None:
    path = text_file(tmp_path, 50_000)
    feeder = start("enqueue", redis_url, STREAM, GROUP, path, "--max-length=1000")
    until(lambda: client.exists(STREAM) and client.xlen(STREAM) == 1_000)
    depth = RedisStreamProbe(client, STREAM, GROUP).measure
    assert until(lambda: depth() if depth().items == 50_000 else None).ahead == 49_000
    feeder.kill()
    feeder.wait()
    [(run, said)] = client.hgetall(AHEAD + STREAM).items()
    client.hset(AHEAD + STREAM, run, said.split()[0] + b" 1")  # as if a minute had passed
    assert depth().items == 1_000
    drain = Drain(redis_url, until_items=50_000)
    assert enqueue(client, STREAM, GROUP, [path], max_length=5_000).added == 49_000
    until(drain.finished)
    assert drain.seen == [b"a.txt:%d" % n for n in range(1, 50_001)]


def test_entries_that_any_group_still_needs_are_never_cut_off(client: redis.Redis) -> None:
    make_consumer_group(client, STREAM, GROUP)
    make_consumer_group(client, STREAM, "others")
    for n in range(1_000):
        client.xadd(STREAM, {"payload": "x"}, id=f"{2**63}-{n}")
    got = client.xreadgroup(GROUP, "c", {STREAM: ">"})[0][1]
    client.xack(STREAM, GROUP, *[entry for entry, _ in got])
    room = Room(client, STREAM, max_length=SHORTEST)
    room.take(0, ahead=0)
    assert client.xlen(STREAM) == 1_000  # the other group has read nothing
    got = client.xreadgroup("others", "c", {STREAM: ">"})[0][1]
    client.xack(STREAM, "others", *[entry for entry, _ in got[:700]])
    room.take(300, ahead=300)
    left = [entry for entry, _ in client.xrange(STREAM)]
    assert len(left) < 400
    assert set(left) >= {entry for entry, _ in got[700:]}


def test_a_feeder_waits_for_room_with_growing_pauses(client: redis.Redis) -> None:
    make_consumer_group(client, STREAM, GROUP)
    for _ in range(SHORTEST):
        client.xadd(STREAM, {"payload": "x"})
    pauses: list[float] = []

    def drains_at_the_fifth(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 5:
            got = client.xreadgroup(GROUP, "c", {STREAM: ">"})[0][1]
            client.xack(STREAM, GROUP, *[entry for entry, _ in got])

    Room(client, STREAM, max_length=SHORTEST, pause=drains_at_the_fifth).take(500, ahead=500)
    assert pauses == [0.02, 0.04, 0.08, 0.16, 0.32]


@pytest.mark.parametrize("length", [-1, 0, 999])
def test_a_maximum_length_that_is_too_short_is_refused(
    client: redis.Redis, tmp_path: Path, length: Any
) -> None:
    with pytest.raises(ValueError, match="give 1,000 entries or more"):
        enqueue(client, STREAM, GROUP, [text_file(tmp_path, 1)], max_length=length)
    assert client.xlen(STREAM) == 0
