"""Known problems of Celery, beat and redis-py that a wrong setting would cause."""

import time
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.conf import settings
from django.core.checks import run_checks
from django.test import override_settings

from config import celery_app
from pods import dispatch, tasks
from pods.base.redis import LONGEST_BLOCK_MS, SOCKET_TIMEOUT_SECONDS, redis_client
from tests.support.waiting import patience


def ids() -> list[str | None]:
    return [message.id for message in run_checks()]


def test_a_schedule_in_the_settings_is_an_error_because_it_overwrites_operators_edits() -> None:
    assert "podfleet.E001" not in ids()
    assert not celery_app.conf.beat_schedule
    with override_settings(CELERY_BEAT_SCHEDULE={"x": {}}):
        assert "podfleet.E001" in ids()


@pytest.mark.parametrize(
    "wrong",
    [{"CELERY_TASK_TIME_LIMIT": 700}, {"CLAIM_LEASE": timedelta(seconds=100)}],
    ids=["longer than the visibility timeout", "longer than the claim"],
)
def test_a_task_must_end_before_it_is_delivered_again_or_its_claim_ends(
    wrong: dict[str, Any],
) -> None:
    assert "podfleet.E002" not in ids()
    with override_settings(**wrong):
        assert "podfleet.E002" in ids()


def test_no_countdown_outlives_the_visibility_timeout() -> None:
    from pods.spawning import LONGEST_PAUSE

    visible = celery_app.conf.broker_transport_options["visibility_timeout"]
    assert LONGEST_PAUSE.total_seconds() < visible
    assert visible > dispatch.STEP_EXPIRES_SECONDS


def test_celery_acknowledges_late_takes_one_task_at_a_time_and_accepts_only_json() -> None:
    conf = celery_app.conf
    assert conf.task_acks_late
    assert conf.task_reject_on_worker_lost
    assert conf.worker_prefetch_multiplier == 1
    assert conf.accept_content == ["json"]
    assert conf.task_serializer == "json"
    assert conf.broker_transport_options["socket_timeout"]
    assert conf.task_time_limit
    assert conf.task_soft_time_limit < conf.task_time_limit


def test_every_task_has_one_of_our_queues_and_tasks_from_beat_expire() -> None:
    celery_app.loader.import_default_modules()
    queues = {queue.name for queue in celery_app.conf.task_queues}
    ours = [name for name in celery_app.tasks if name.startswith(("fleet.", "pods.", "notify."))]
    assert {"fleet.tick", "pods.spawn", "pods.teardown", "pods.sweep", "pods.reconcile"} <= {*ours}
    for name in ours:
        assert celery_app.amqp.router.route({}, name)["queue"].name in queues
    for task in (tasks.sweep, tasks.nudge, tasks.reconcile, tasks.survey):
        assert task.expires


def test_a_blocking_read_of_our_redis_client_ends_by_itself(redis_url: str) -> None:
    assert LONGEST_BLOCK_MS / 1000 < SOCKET_TIMEOUT_SECONDS / 2
    client = redis_client(redis_url)
    client.xgroup_create("s", "g", mkstream=True)
    began = time.monotonic()
    assert not client.xreadgroup("g", "c", {"s": ">"}, block=LONGEST_BLOCK_MS)
    assert time.monotonic() - began < SOCKET_TIMEOUT_SECONDS
    client.xadd("s", {"a": "b"})
    got: Any = client.xreadgroup("g", "c", {"s": ">"})
    [[stream, entries]] = got
    assert stream == b"s"  # the legacy shapes and bytes are intended
    assert entries[0][1] == {b"a": b"b"}


def test_a_missing_server_is_an_error_within_seconds() -> None:
    began = time.monotonic()
    with pytest.raises(redis.ConnectionError):
        redis_client("redis://127.0.0.1:1/0").ping()
    assert time.monotonic() - began < patience(10)


def test_broker_and_backlog_use_the_same_server_unless_a_fleet_has_its_own() -> None:
    assert celery_app.conf.broker_url == settings.REDIS_URL
