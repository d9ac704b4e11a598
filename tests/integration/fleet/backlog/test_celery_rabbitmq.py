"""The probe of a Celery queue on RabbitMQ, against an emulated API and a real broker if installed."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
import redis
from celery import Celery

from fleet.backlog.base import BacklogUnknown, Depth
from fleet.backlog.probes import build_probe
from tests.support.celery import rabbitmq
from tests.support.celery.rabbitmq import Broker, ManagementApi
from tests.support.celery.workers import celery_worker
from tests.support.waiting import until


def depth(url: str, queue: str = "work") -> Depth:
    return build_probe("celery_rabbitmq", url=url, name=queue, group="").measure()


@pytest.fixture
def api() -> Iterator[ManagementApi]:
    with rabbitmq.emulated() as api:
        yield api


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    program = rabbitmq.installed()
    if program is None:
        pytest.skip("no RabbitMQ: there is no rabbitmq-server on the path")
    with rabbitmq.started(program, tmp_path_factory.mktemp("rabbitmq")) as broker:
        yield broker


def test_ready_and_unacknowledged_messages_are_the_backlog(api: ManagementApi) -> None:
    api.declare("work")
    api.count("work", ready=40, held=8)
    assert depth(api.url) == Depth(waiting=40, pending=8)


def test_the_age_of_the_oldest_message_is_known_if_publishers_set_a_time(
    api: ManagementApi,
) -> None:
    api.declare("work")
    api.count("work", ready=4, held=1, head_message_timestamp=int(api.now) - 90)
    assert depth(api.url).oldest_age == timedelta(seconds=90)
    api.count("work", ready=0, held=5, head_message_timestamp=int(api.now) - 90)
    assert depth(api.url).oldest_age is None


@pytest.mark.parametrize("stamp", [10**15, 1_900_000_000, "soon", -4])
def test_an_impossible_time_of_the_oldest_message_gives_no_age(
    api: ManagementApi, stamp: object
) -> None:
    api.declare("work")
    api.count("work", ready=4, held=1, head_message_timestamp=stamp)
    assert depth(api.url).oldest_age is None


def test_names_with_slashes_and_virtual_hosts_are_found(api: ManagementApi) -> None:
    api.declare("a/b c", vhost="prod/eu")
    api.count("a/b c", vhost="prod/eu", ready=3, held=0)
    assert depth(f"{api.url}?vhost=prod/eu", "a/b c").waiting == 3
    port = api.url.rpartition(":")[2]
    amqp = f"amqp://guest:p%40ss%3Aword@127.0.0.1/prod%2Feu?management_port={port}"
    assert depth(amqp, "a/b c").waiting == 3


def test_a_queue_that_is_not_counted_yet_is_unknown_and_not_zero(api: ManagementApi) -> None:
    api.declare("work")
    with pytest.raises(BacklogUnknown, match="has not counted the queue work yet"):
        depth(api.url)


@pytest.mark.parametrize("state", ["down", "crashed", "stopped", "minority"])
def test_the_old_numbers_of_a_queue_that_is_down_are_not_used(
    api: ManagementApi, state: str
) -> None:
    api.declare("work")
    api.count("work", ready=0, held=0, state=state)
    with pytest.raises(BacklogUnknown, match=f"is {state}; its numbers are old"):
        depth(api.url)


def test_a_missing_queue_is_unknown(api: ManagementApi) -> None:
    with pytest.raises(BacklogUnknown, match="does not have the queue work in the virtual host /"):
        depth(api.url)


def test_a_user_without_permission_makes_it_unknown_and_the_password_stays_secret(
    api: ManagementApi,
) -> None:
    api.declare("work")
    api.tags = False
    with pytest.raises(BacklogUnknown, match="it needs the tag `management`") as caught:
        depth(api.url)
    assert "p@ss" not in str(caught.value)


@pytest.mark.parametrize("status", [200, 302, 400, 500, 503])
def test_a_server_without_the_management_api_is_unknown(api: ManagementApi, status: int) -> None:
    api.status = status
    with pytest.raises(BacklogUnknown):
        depth(api.url)


def test_a_broker_that_is_down_is_unknown() -> None:
    with pytest.raises(BacklogUnknown, match="RabbitMQ does not answer"):
        depth("http://guest:guest@127.0.0.1:1")


@pytest.mark.slow
def test_a_real_broker_and_a_real_worker_are_counted_exactly(
    broker: Broker, client: redis.Redis, redis_url: str
) -> None:
    app = Celery("publisher", broker=broker.amqp, set_as_current=False)
    app.conf.task_queue_max_priority = 10
    for number in range(20):
        app.send_task("hold", queue="work", priority=number % 10)
    until(lambda: _numbers(broker) == (20, 0))
    with celery_worker(broker.amqp, redis_url, "work"):
        until(lambda: _numbers(broker) == (12, 8))
        client.lpush("let go", *range(3))
        until(lambda: _numbers(broker) == (9, 8))
    until(lambda: _numbers(broker) == (17, 0))  # a broken connection gives its messages back
    client.lpush("let go", *range(17))
    with celery_worker(broker.amqp, redis_url, "work"):
        until(lambda: _numbers(broker) == (0, 0))
    app.close()


def _numbers(broker: Broker) -> tuple[int, int] | None:
    try:
        seen = depth(broker.seen_at)
    except BacklogUnknown:
        return None
    return seen.waiting, seen.pending


@pytest.mark.slow
def test_errors_of_a_real_broker_make_the_backlog_unknown(broker: Broker) -> None:
    with pytest.raises(BacklogUnknown, match="does not have the queue none of ours"):
        depth(broker.seen_at, "none of ours")
    with pytest.raises(BacklogUnknown, match="it needs the tag `management`"):
        depth(broker.management.replace("://", "://guest:wrong@"))
