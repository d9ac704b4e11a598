"""The probe of a Celery queue on a real Valkey, with a real worker and with kombu alone."""

import time
from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from celery import Celery
from kombu import Connection, Exchange, Queue

from fleet.backlog.base import BacklogUnknown, Depth
from fleet.backlog.celery_queue import CeleryKeys, CeleryRedisProbe
from fleet.backlog.probes import build_probe
from tests.support.celery.workers import celery_worker
from tests.support.redis_clients import client_of, counting, may_only_read
from tests.support.waiting import until


def depth(url: str, queue: str) -> Depth:
    return build_probe("celery_redis", url=url, name=queue, group="").measure()


@pytest.fixture
def app(redis_url: str) -> Iterator[Celery]:
    """An app that publishes the tasks in held_tasks.py."""
    app = Celery("publisher", broker=redis_url, set_as_current=False)
    yield app
    app.close()


@pytest.fixture
def broker(redis_url: str) -> Iterator[Connection]:
    with Connection(redis_url) as connection:
        yield connection


def put(connection: Connection, queue: Queue, count: int, **properties: object) -> None:
    producer = connection.Producer()
    for _ in range(count):
        producer.publish(
            {"n": 1},
            exchange=queue.exchange,
            routing_key=queue.routing_key,
            declare=[queue],
            **properties,
        )


def take(connection: Connection, queue: Queue, count: int) -> None:
    """Take messages without acknowledging them, as a busy worker does."""
    channel = connection.channel()
    bound = queue(channel)
    for _ in range(count):
        assert bound.get() is not None


def test_all_priorities_and_the_messages_of_a_real_worker_are_counted_exactly(
    app: Celery, client: redis.Redis, redis_url: str
) -> None:
    for number in range(20):
        app.send_task("hold", queue="work", priority=number % 10)
    for _ in range(5):
        app.send_task("hold", queue="other")
    assert depth(redis_url, "work") == Depth(waiting=20, pending=0)
    with celery_worker(redis_url, redis_url, "work,other") as worker:
        until(lambda: client.hlen("unacked") == 8)
        work, other = depth(redis_url, "work"), depth(redis_url, "other")
        assert (work.items, other.items) == (20, 5)
        assert (work.pending + other.pending) == 8
        assert work.pending == _held_of(client, "work")
        assert not work.estimated
        client.lpush("let go", *range(3))
        until(lambda: depth(redis_url, "work").items + depth(redis_url, "other").items == 22)
        worker.kill()
        worker.wait()
        assert depth(redis_url, "work").items + depth(redis_url, "other").items == 22
        assert _held_of(client, "work") == depth(redis_url, "work").pending
    with celery_worker(redis_url, redis_url, "work,other"):
        # The killed worker's messages come back after the visibility timeout, an hour.
        client.lpush("let go", *range(30))
        until(lambda: depth(redis_url, "work").waiting == depth(redis_url, "other").waiting == 0)
        until(lambda: client.hlen("unacked") == 8)
    assert depth(redis_url, "work").pending == _held_of(client, "work")


def _held_of(client: redis.Redis, queue: str) -> int:
    ending = f', "", "{queue}"]'.encode()
    return sum(message.endswith(ending) for message in client.hvals("unacked"))


def test_a_drained_queue_is_empty_and_not_unknown(
    app: Celery, client: redis.Redis, redis_url: str
) -> None:
    for _ in range(12):
        app.send_task("hold", queue="work")
    client.lpush("let go", *range(12))
    with celery_worker(redis_url, redis_url, "work"):
        until(lambda: depth(redis_url, "work").items == 0)
    assert depth(redis_url, "work") == Depth(waiting=0, pending=0)


@pytest.mark.fault(45)
def test_an_emptied_broker_is_unknown_and_not_zero(
    app: Celery, client: redis.Redis, redis_url: str
) -> None:
    app.send_task("hold", queue="work")
    assert depth(redis_url, "work").items == 1
    client.flushall()
    with pytest.raises(BacklogUnknown, match="nothing on this Redis knows the queue work"):
        depth(redis_url, "work")


def test_messages_of_a_topic_exchange_count_for_the_queue_that_they_are_routed_to(
    broker: Connection, redis_url: str
) -> None:
    topics = Exchange("topics", type="topic")
    texts = Queue("texts", topics, routing_key="embed.*.text")
    images = Queue("images", topics, routing_key="embed.#.image")
    for queue in (texts, images):
        queue(broker.channel()).declare()
    producer = broker.Producer()
    for key in ("embed.de.text", "embed.en.text", "embed.en.text", "embed.a.b.image"):
        producer.publish({}, exchange=topics, routing_key=key)
    take(broker, texts, 2)
    take(broker, images, 1)
    assert _numbers(depth(redis_url, "texts")) == (1, 2)
    assert _numbers(depth(redis_url, "images")) == (0, 1)


def _numbers(seen: Depth) -> tuple[int, int]:
    return seen.waiting, seen.pending


def test_an_empty_queue_on_an_exchange_of_another_name_is_found_if_the_address_names_it(
    broker: Connection, redis_url: str
) -> None:
    Queue("work", Exchange("company"), routing_key="w")(broker.channel()).declare()
    with pytest.raises(BacklogUnknown, match=r"\?exchange=NAME"):
        depth(redis_url, "work")
    assert _numbers(depth(f"{redis_url}?exchange=company", "work")) == (0, 0)


@pytest.mark.parametrize(
    ("transport", "query"),
    [
        ({"global_keyprefix": "app:"}, "global_keyprefix=app:"),
        ({"sep": ":", "priority_steps": [0, 5]}, "sep=:&priority_steps=0,5"),
        ({"priority_steps": list(range(10))}, ""),
        ({"priority_steps": [0, 100, 200]}, "priority_steps=0,100,200"),
        ({"unacked_key": "u", "unacked_index_key": "i"}, "unacked_key=u&unacked_index_key=i"),
    ],
)
def test_an_app_may_give_its_keys_other_names(
    redis_url: str, transport: dict[str, object], query: str
) -> None:
    queue = Queue("work", Exchange("work"), routing_key="work")
    with Connection(redis_url, transport_options=transport) as broker:
        for priority in (0, 5, 9, 250):
            put(broker, queue, 2, priority=priority)
        take(broker, queue, 3)
        assert _numbers(depth(f"{redis_url}?{query}", "work")) == (5, 3)


def test_a_queue_with_pattern_characters_in_its_name_is_found(
    broker: Connection, redis_url: str
) -> None:
    for name in ("w[a-c]?*\\", "wb"):
        queue = Queue(name, Exchange(name), routing_key=name)
        put(broker, queue, 3)
        take(broker, queue, 3 if name == "wb" else 1)
    assert _numbers(depth(redis_url, "w[a-c]?*\\")) == (2, 1)
    assert _numbers(depth(redis_url, "wb")) == (0, 3)


def test_more_unacknowledged_messages_than_are_read_are_extrapolated_and_the_note_says_so(
    broker: Connection, client: redis.Redis
) -> None:
    for name in ("work", "other"):
        queue = Queue(name, Exchange(name), routing_key=name)
        put(broker, queue, 20)
        take(broker, queue, 20)
    seen = CeleryRedisProbe(client, CeleryKeys(queue="other"), counted=20).measure()
    assert seen.estimated
    assert "20 of 40 unacknowledged messages" in seen.note
    assert 1 <= seen.pending <= 40  # the oldest 20 all belong to `work`; it is not called empty
    seen = CeleryRedisProbe(client, CeleryKeys(queue="work"), counted=20).measure()
    assert seen.pending >= 20


@pytest.mark.fault(58)
def test_large_unacknowledged_messages_are_not_all_read(
    broker: Connection, client: redis.Redis, redis_url: str
) -> None:
    queue = Queue("work", Exchange("work"), routing_key="work")
    producer = broker.Producer()
    for _ in range(24):
        producer.publish({"x": "y" * 2**20}, exchange="", routing_key="work", declare=[queue])
    take(broker, queue, 24)
    seen = depth(redis_url, "work")
    assert (seen.pending, seen.estimated) == (24, True)
    assert int(seen.note.split()[0]) < 24


def test_one_round_trip_is_enough(broker: Connection, client: redis.Redis) -> None:
    queue = Queue("work", Exchange("work"), routing_key="work")
    put(broker, queue, 600)
    take(broker, queue, 500)
    with counting(client) as sent:
        seen = CeleryRedisProbe(client, CeleryKeys(queue="work")).measure()
    assert sent == ["EVAL_RO"]
    assert _numbers(seen) == (100, 500)


def test_ages_are_known_if_the_messages_have_times(broker: Connection, redis_url: str) -> None:
    queue = Queue("work", Exchange("work"), routing_key="work")
    put(broker, queue, 2)
    assert depth(redis_url, "work").oldest_age is None
    take(broker, queue, 2)
    put(broker, queue, 1, timestamp=int(time.time()) - 3600, priority=3)
    put(broker, queue, 1, timestamp=int(time.time()) - 60, priority=9)
    seen = depth(redis_url, "work")
    assert seen.oldest_age is not None
    assert timedelta(hours=1) <= seen.oldest_age < timedelta(hours=1, minutes=2)


def test_a_key_of_another_kind_is_unknown(client: redis.Redis, redis_url: str) -> None:
    client.set("work", "text")
    with pytest.raises(BacklogUnknown, match="work or unacked is not a key of a Celery broker"):
        depth(redis_url, "work")


def test_a_broker_that_is_down_is_unknown() -> None:
    probe = CeleryRedisProbe(client_of("redis://127.0.0.1:1/0"), CeleryKeys(queue="work"))
    with pytest.raises(BacklogUnknown, match="Redis does not answer"):
        probe.measure()


def test_the_address_keeps_the_options_of_the_redis_client(
    broker: Connection, client: redis.Redis, redis_url: str
) -> None:
    put(broker, Queue("work", Exchange("work"), routing_key="work"), 1)
    assert depth(f"{redis_url}?client_name=looking&exchange=work", "work").waiting == 1
    assert "looking" in {seen["name"] for seen in client.client_list()}


def test_a_user_that_may_only_read_can_measure(
    broker: Connection, client: redis.Redis, redis_url: str
) -> None:
    put(broker, Queue("work", Exchange("work"), routing_key="work"), 3)
    address = may_only_read(client, redis_url)
    assert depth(address, "work").waiting == 3
