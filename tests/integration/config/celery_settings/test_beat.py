"""Tasks that beat sends while no worker runs, and operators' edits when beat restarts."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_celery_beat.models import IntervalSchedule, PeriodicTask
from django_celery_beat.schedulers import ModelEntry
from kombu.utils.imports import symbol_by_name

from config import celery_app
from config.beat import Entry, Scheduler
from config.env import ROOT
from fleet.pages.last_runs import beat_last_sent
from tests.support.celery.workers import a_worker
from tests.support.factories import a_fleet, seconds
from tests.support.waiting import patience, until

pytestmark = pytest.mark.fault(43)
PATIENCE_SECONDS = 30.0
TICKS = 100


@pytest.fixture
def client(redis_url: str) -> "redis.Redis":
    return redis.Redis.from_url(redis_url, protocol=2, decode_responses=True)


@pytest.mark.django_db
def test_every_entry_of_the_schedule_expires_before_many_can_pile_up() -> None:
    a_fleet(tick=seconds(15))
    rows = PeriodicTask.objects.exclude(name="celery.backend_cleanup").select_related("interval")
    periods = {row.name: row.interval.schedule.run_every.total_seconds() for row in rows}
    assert len(periods) > 6
    late = {
        row.name: row.expire_seconds
        for row in rows
        if row.expire_seconds is None or row.expire_seconds > periods[row.name]
    }
    assert late == {}


@pytest.mark.django_db
@pytest.mark.one_database
def test_a_hundred_piled_up_ticks_do_the_work_of_one(client: "redis.Redis", tmp_path: Path) -> None:
    entry = ModelEntry(a_fleet(tick=seconds(1)).schedule, app=celery_app)
    for _ in range(TICKS):
        celery_app.send_task("fleet.count", ("piled",), **entry.options)
    assert client.llen("control") == TICKS
    sent: Any = client.lindex("control", 0)
    expires = json.loads(sent)["headers"]["expires"]
    until(lambda: expires < time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime()))
    # No expiry: a machine under load may need longer to start a worker than any fitting one.
    celery_app.send_task("fleet.count", ("last",))
    with a_worker(tmp_path, "control", "-c", "1"):
        # The last one is waited for by its effect: between the queue and `unacked` a task is in neither.
        until(lambda: client.get("last:runs") == "1", PATIENCE_SECONDS)
    assert client.get("piled:runs") is None


@pytest.mark.django_db
def test_a_last_run_in_the_future_does_not_stop_a_task() -> None:
    task = a_fleet(tick=seconds(1)).schedule
    assert task is not None
    PeriodicTask.objects.update(last_run_at=timezone.now() + timedelta(hours=1))
    task.refresh_from_db()
    with pytest.raises(CommandError, match="beat has sent nothing"):
        call_command("beat_alive")
    entry = Entry(task, app=celery_app)
    assert entry.is_due().next <= 1
    until(lambda: entry.is_due().is_due)
    entry = next(entry)
    entry.save()
    call_command("beat_alive")
    task.refresh_from_db()
    assert task.last_run_at <= timezone.now()


@pytest.mark.django_db
def test_the_first_alerts_after_a_start_wait_for_the_first_ticks() -> None:
    tick = a_fleet(tick=seconds(1)).schedule
    assert tick is not None
    PeriodicTask.objects.update(last_run_at=timezone.now() - timedelta(minutes=5))
    beat = Scheduler(app=celery_app, lazy=True)
    for _ in range(2):  # an edit makes the entries again
        due = {entry.task: entry.is_due() for entry in beat.all_as_schedule().values()}
        assert due["fleet.tick"].is_due
        assert due["pods.sweep"].is_due
        assert not due["fleet.alert"].is_due
        assert 5 < due["fleet.alert"].next <= 15
    PeriodicTask.objects.update(last_run_at=timezone.now() + timedelta(minutes=5))
    alert = next(e for e in beat.all_as_schedule().values() if e.task == "fleet.alert")
    assert alert.is_due().next <= 15


def test_beat_runs_the_scheduler_that_a_clock_does_not_stop(settings: Any) -> None:
    assert symbol_by_name(settings.CELERY_BEAT_SCHEDULER) is Scheduler
    assert Scheduler.Entry is Entry


@pytest.mark.django_db(transaction=True)
def test_a_restart_of_beat_keeps_an_operators_edits(client: "redis.Redis", tmp_path: Path) -> None:
    every_second = IntervalSchedule.objects.create(every=1, period=IntervalSchedule.SECONDS)
    for name, enabled in {"nudge": True, "survey": False}.items():
        PeriodicTask.objects.update_or_create(
            name=name,
            defaults={"task": f"pods.{name}", "interval": every_second, "enabled": enabled},
        )
    edited = list(PeriodicTask.objects.order_by("pk").values("name", "interval", "enabled"))
    for _ in range(2):
        client.flushall()
        with beat_at_work(tmp_path):
            until(lambda: sent(client).count("pods.nudge") >= 2, PATIENCE_SECONDS)
        assert "pods.survey" not in sent(client)
    rows = PeriodicTask.objects.order_by("pk").exclude(name="celery.backend_cleanup")
    assert list(rows.values("name", "interval", "enabled")) == edited


@pytest.mark.django_db(transaction=True)
@pytest.mark.one_database
@pytest.mark.takes(20)
def test_beat_without_fleets_writes_its_times_often_enough_for_its_health_check(
    tmp_path: Path,
) -> None:
    oldest = timedelta(0)

    def writes() -> int:
        """How many writes were seen; each look notes how old the newest time was."""
        nonlocal oldest
        if (last := beat_last_sent()) is not None:
            seen.add(last)
            oldest = max(oldest, timezone.now() - last)
        return len(seen)

    seen: set[datetime] = set()
    PeriodicTask.objects.update(last_run_at=None)
    with beat_at_work(tmp_path):
        until(lambda: writes() >= 2, PATIENCE_SECONDS)
        call_command("beat_alive", "--seconds=30")
        until(lambda: writes() >= 3, PATIENCE_SECONDS)
    assert oldest < timedelta(seconds=patience(PATIENCE_SECONDS))


@pytest.mark.django_db
def test_writing_the_time_of_a_run_keeps_an_edit_made_meanwhile() -> None:
    task = PeriodicTask.objects.get(name="nudge")
    entry = next(Entry(task, app=celery_app))
    PeriodicTask.objects.filter(pk=task.pk).update(priority=3)
    entry.save()
    task = PeriodicTask.objects.get(pk=task.pk)
    assert (task.priority, task.total_run_count) == (3, 1)
    assert task.last_run_at == entry.last_run_at
    task.enabled = False
    task.save()
    entry.save()
    task.refresh_from_db()
    assert (task.enabled, task.last_run_at) == (False, None)


@contextmanager
def beat_at_work(folder: Path) -> Iterator[None]:
    """A beat of its own process, with the settings of the product."""
    command = [sys.executable, "-m", "celery", "-A", "config", "beat", "--pidfile="]
    with (
        (folder / "beat.log").open("ab") as log,
        subprocess.Popen(command, cwd=ROOT, env=dict(os.environ), stdout=log, stderr=log) as beat,
    ):
        try:
            yield
        finally:
            beat.kill()


def sent(client: "redis.Redis") -> list[str]:
    """The tasks that wait in the queues."""
    waiting = [m for queue in ("control", "vendor") for m in client.lrange(queue, 0, -1)]
    return [json.loads(message)["headers"]["task"] for message in waiting]
