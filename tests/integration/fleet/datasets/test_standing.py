"""Ranges are added exactly once, whatever is lost, and their rows are counted in the same step."""

import os
import random
import subprocess
from collections.abc import Iterator

import pytest
import redis

from config.env import ROOT
from fleet.datasets import standing
from fleet.datasets.standing import AnotherFeeder, Counts, rows_key
from tests.support.datasets import (
    FLEET,
    STREAM,
    a_source,
    added,
    bury,
    finish,
    on_the_stream,
    ranges_of,
    take,
    the_stream,
)
from tests.support.programs import command


def test_ranges_are_added_with_their_rows(client: redis.Redis) -> None:
    ranges = ranges_of(a_source(), count=450)
    stream = the_stream(client)
    assert stream.take_over().left == 0
    assert list(stream.add(ranges)) == [200, 400, 450]
    assert on_the_stream(client) == [r.id for r in ranges]
    seen = stream.look()
    assert seen.counts.planned == 45_000 == seen.counts.left
    assert seen.by_file() == {a_source().key: [(r.start, r.end) for r in ranges]}


def test_a_look_sees_ranges_that_wait_are_in_hand_or_dead(client: redis.Redis) -> None:
    stream = added(client, ranges_of(a_source()))
    first, second, third = take(client, 3)
    finish(client, first, done=98, failed=2)
    bury(client, second)
    seen = stream.look()
    assert [len(seen.waiting), len(seen.pending), len(seen.dead), seen.left] == [7, 1, 1, 8]
    assert (seen.counts.planned, seen.counts.done, seen.counts.failed) == (1000, 98, 2)
    assert (seen.counts.dead, seen.counts.left) == (100, 800)
    assert third


def test_a_lost_answer_adds_nothing_twice(client: redis.Redis) -> None:
    stream = the_stream(client)
    stream.take_over()
    original, lost = client.eval, []

    def lossy(*words: object) -> object:
        answer = original(*words)  # type: ignore[arg-type]
        if not lost:
            lost.append(answer)
            answer = original(*words)  # type: ignore[arg-type]  # the client asks again
        return answer

    client.eval = lossy  # type: ignore[method-assign,assignment]
    try:
        list(stream.add(ranges_of(a_source())))
    finally:
        client.eval = original  # type: ignore[method-assign]
    assert len(on_the_stream(client)) == 10
    assert stream.look().counts.planned == 1000


def test_a_second_feeder_stops_the_first(client: redis.Redis) -> None:
    first, second = the_stream(client), the_stream(client)
    first.take_over()
    steps = first.add(ranges_of(a_source(), count=400))
    next(steps)
    assert second.take_over().left == 200
    with pytest.raises(AnotherFeeder):
        list(steps)
    assert len(on_the_stream(client)) == 200


def test_an_emptied_redis_stops_a_feeder(client: redis.Redis) -> None:
    stream = the_stream(client)
    stream.take_over()
    steps = stream.add(ranges_of(a_source(), count=400))
    next(steps)
    client.flushall()
    with pytest.raises(AnotherFeeder):
        list(steps)
    assert on_the_stream(client) == []


def test_the_counts_are_set_right_after_a_loss(client: redis.Redis) -> None:
    stream = added(client, ranges_of(a_source()))
    first, second, _ = take(client, 3)
    finish(client, first, done=100)
    bury(client, second)
    client.delete(STREAM)
    seen = stream.take_over()
    assert (seen.counts.planned, seen.counts.left, seen.left) == (200, 0, 0)
    client.delete(rows_key(FLEET))
    assert stream.look().counts.planned is None
    seen = stream.take_over()
    assert seen.counts.planned is None  # nobody knows the depth until they are restored
    stream.restore(seen, done=90, failed=10, schema=b"schema")
    stream.restore(seen, done=1, failed=1, schema=b"another")  # its answer was lost
    assert stream.look().counts == Counts(planned=200, done=90, failed=10, dead=100)
    assert client.hget(rows_key(FLEET), "schema") == b"schema"
    other = the_stream(client)
    with pytest.raises(AnotherFeeder):
        other.restore(seen, done=1, failed=1, schema=b"")


@pytest.fixture
def feeder() -> Iterator[list[subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []
    yield started
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.takes(20)
def test_kills_neither_lose_nor_repeat_a_range(
    client: redis.Redis, redis_url: str, feeder: list[subprocess.Popen[bytes]]
) -> None:
    chance = random.Random(7)
    for _ in range(6):
        process = subprocess.Popen(
            command("feed_ranges", 2000), cwd=ROOT, env=os.environ, stdout=subprocess.PIPE
        )
        feeder.append(process)
        assert process.stdout is not None
        for _ in range(chance.randrange(1, 40)):
            if not process.stdout.readline():
                break
        process.kill()
        process.wait()
        process.stdout.close()
    done = subprocess.run(command("feed_ranges", 2000), cwd=ROOT, env=os.environ, check=False)
    assert done.returncode == 0
    assert sorted(on_the_stream(client)) == sorted(r.id for r in ranges_of(a_source(), count=2000))
    assert the_stream(client).look().counts.planned == 200_000


def test_a_look_at_too_many_ranges_says_so(
    client: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    stream = added(client, ranges_of(a_source()))
    monkeypatch.setattr(standing, "MOST_RANGES", 5)
    with pytest.raises(redis.ResponseError, match="more than 5 ranges"):
        stream.look()
