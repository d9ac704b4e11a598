"""A broker that is gone, that stands still, or whose queues nobody reads."""

import signal
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import redis
from celery import current_app
from django.conf import settings
from django.db import transaction
from kombu.exceptions import ConnectionLimitExceeded

from config import celery_app
from config.celery import LONGEST_QUEUE, App
from fleet import operating
from fleet.tick import requesting, ticking
from pods import dispatch, lifecycle, tasks
from pods.base import clock
from pods.models import Pod
from pods.states import READY, REQUESTED, TERMINATING
from tests.support.factories import OFFER, a_fleet, a_pod, an_account
from tests.support.items import add_items
from tests.support.own_redis import OwnServer, own_redis
from tests.support.waiting import until

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.one_database]
TICK_SOFT_LIMIT_SECONDS = 25


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[OwnServer]:
    with own_redis(tmp_path) as made:
        yield made


@pytest.fixture
def app(broker: OwnServer) -> Iterator[App]:
    """The project's app, with its settings, on its own broker."""
    standing_in: Any = current_app
    before = standing_in._get_current_object()
    made = App("podfleet", set_as_current=False)
    made.config_from_object("django.conf:settings", namespace="CELERY")
    made.conf.update(broker_url=broker.url)
    made.set_current()
    made.send_task("fleet.count", ("warm",), expires=60)  # so that its connection already exists
    yield made
    made.close()
    before.set_current()


def waiting(broker: OwnServer) -> int:
    return int(redis.Redis.from_url(broker.url, protocol=2).llen("vendor"))


@pytest.mark.fault(45)
@pytest.mark.parametrize("gone", ["killed", "stands still"])
def test_the_next_nudge_sends_the_step_of_a_row_whose_message_could_not_be_sent(
    app: App, broker: OwnServer, gone: str
) -> None:
    if gone == "killed":
        broker.kill()
    else:
        broker.signal(signal.SIGSTOP)
    began = time.monotonic()
    with transaction.atomic():  # as a tick does
        pod = a_pod(state=REQUESTED)
        dispatch.send(dispatch.SPAWN, pod.pk)
    assert time.monotonic() - began < TICK_SOFT_LIMIT_SECONDS
    assert list(Pod.objects.billable()) == [pod]
    if gone == "killed":
        broker.start()
    else:
        broker.signal(signal.SIGCONT)
    later = clock.utcnow() + timedelta(minutes=1)
    with clock.use(lambda: later):
        tasks.nudge()
    until(lambda: waiting(broker) >= 1)


def tick_that_spawns_and_retires(redis_url: str) -> list[str]:
    """Run a tick that wants one more pod and retires an old one; return the states afterwards."""
    account = an_account(offers=[OFFER])
    fleet = a_fleet(
        accounts=[account], name="emb", max_instances=5, target_depth_per_pod=10, max_pod_hours=1
    )
    fleet.proven_template = requesting.template_hash(fleet)
    fleet.save()
    operating.make_group(fleet)
    old = clock.utcnow() - timedelta(hours=2)
    a_pod(fleet, READY, requested_at=old, state_since=old)
    add_items(redis_url, 100)
    decided = ticking.tick_fleet(fleet.pk)
    assert decided is not None
    assert (len(decided.spawn), len(decided.retire)) == (1, 1)
    return list(Pod.objects.order_by("pk").values_list("state", flat=True))


@pytest.mark.fault(45)
def test_a_tick_retires_its_pods_although_the_broker_is_full(
    app: App, broker: OwnServer, redis_url: str
) -> None:
    redis.Redis.from_url(broker.url, protocol=2).config_set("maxmemory", 1)
    assert tick_that_spawns_and_retires(redis_url) == ["draining", "requested"]


@pytest.mark.fault(45)
@pytest.mark.parametrize(
    "error",
    [
        redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'"),
        redis.exceptions.ResponseError("MISCONF Errors writing to the AOF file"),
        ConnectionLimitExceeded(10),
        ConnectionResetError("by peer"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_a_tick_retires_its_pods_whatever_error_the_broker_answers(
    error: Exception, redis_url: str
) -> None:
    with mock.patch("pods.dispatch.current_app.send_task", side_effect=error):
        assert tick_that_spawns_and_retires(redis_url) == ["draining", "requested"]


def test_a_queue_that_nobody_reads_does_not_grow_without_limit(app: App, broker: OwnServer) -> None:
    redis.Redis.from_url(broker.url, protocol=2).rpush("vendor", *(["{}"] * (LONGEST_QUEUE - 5)))
    for _ in range(20):
        app.send_task("pods.check", (1,), expires=60)
    assert waiting(broker) == LONGEST_QUEUE


def test_messages_that_must_not_be_lost_are_sent_to_a_full_queue_too(
    app: App, broker: OwnServer
) -> None:
    client = redis.Redis.from_url(broker.url, protocol=2)
    client.rpush("vendor", *(["{}"] * LONGEST_QUEUE))
    app.send_task("pods.check", (1,))
    assert waiting(broker) == LONGEST_QUEUE + 1


@pytest.mark.fault(50)
def test_a_step_that_is_due_in_an_hour_waits_in_its_row_not_on_the_broker(
    app: App, broker: OwnServer
) -> None:
    pod = a_pod(state=TERMINATING)
    lifecycle.postpone(pod, by=timedelta(hours=1))
    dispatch.next_step(pod.pk, pod.status, countdown=3600)
    tasks.nudge()
    assert waiting(broker) == 0
    later = clock.utcnow() + timedelta(hours=1, minutes=1)
    with clock.use(lambda: later):
        tasks.nudge()
    assert waiting(broker) == 1


def test_the_visibility_timeout_outlives_every_task_and_every_claim_outlives_its_task() -> None:
    celery_app.loader.import_default_modules()
    visible = settings.CELERY_BROKER_TRANSPORT_OPTIONS["visibility_timeout"]
    limits = {
        task.time_limit or settings.CELERY_TASK_TIME_LIMIT
        for name, task in celery_app.tasks.items()
        if name.startswith(("pods.", "fleet.", "notify."))
    }
    assert len(limits) > 1
    assert max(limits) < settings.CLAIM_LEASE.total_seconds() < visible
    assert dispatch.LONGEST_COUNTDOWN_SECONDS + max(limits) < visible
    assert settings.CELERY_TASK_SOFT_TIME_LIMIT < settings.CELERY_TASK_TIME_LIMIT
