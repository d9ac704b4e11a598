"""The periodic task of each fleet. Its interval is the one place that holds the tick period."""

from datetime import datetime, timedelta
from typing import Any, Final

from django.db import transaction
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from fleet.models import Fleet, Tick

DEFAULT_TICK: Final = timedelta(seconds=15)
LONGEST_TICK_SECONDS: Final = 24 * 3600


def keep_schedule(fleet: Fleet, *, every: timedelta | None = None) -> None:
    """Make sure that beat ticks the fleet; `every` changes the period, None keeps it.

    The task belongs to the fleet by its id, never by its name: a fleet that is renamed keeps its
    task, and a new fleet with the old name gets a task of its own.

    Raises:
        ValueError: the period is below one second.
    """
    with transaction.atomic():
        if fleet.schedule is None:
            _make(fleet, every or DEFAULT_TICK)
        elif every is not None:
            PeriodicTask.objects.update_or_create(pk=fleet.schedule.pk, defaults=_period(every))
        _name(fleet)


def until_next_tick(fleet: Fleet, *, now: datetime) -> timedelta | None:
    """How long until beat ticks the fleet again; None if nobody knows, or the tick is late."""
    last = Tick.objects.filter(fleet=fleet).order_by("-at").values_list("at", flat=True).first()
    left = None if last is None else last + fleet.tick_period - now
    return left if left is not None and timedelta(0) < left <= fleet.tick_period else None


def switch(fleet: Fleet, *, on: bool) -> None:
    """Make beat tick the fleet, or stop doing so; its task keeps its period."""
    if fleet.schedule_id is not None:
        PeriodicTask.objects.update_or_create(pk=fleet.schedule_id, defaults={"enabled": on})


def _make(fleet: Fleet, every: timedelta) -> None:
    fleet.schedule = PeriodicTask.objects.create(
        name=_free_name(fleet), task="fleet.tick", args=f"[{fleet.pk}]", **_period(every)
    )
    Fleet.objects.filter(pk=fleet.pk).update(schedule=fleet.schedule)


def _period(every: timedelta) -> dict[str, Any]:
    period = int(every.total_seconds())
    if period < 1:
        raise ValueError("tick_seconds must be 1 or more")
    seconds = {"every": period, "period": IntervalSchedule.SECONDS}
    # The table may hold equal intervals: operators make them in the admin too.
    interval = IntervalSchedule.objects.filter(**seconds).order_by("pk").first()
    return {
        "interval": interval or IntervalSchedule.objects.create(**seconds),
        # A tick that waited for longer than its period is useless: the next one is due.
        "expire_seconds": max(1, period - 1),
    }


def _name(fleet: Fleet) -> None:
    """Give the task the fleet's present name, which the admin shows."""
    task = fleet.schedule
    assert task is not None
    if task.name != (name := _free_name(fleet)):
        PeriodicTask.objects.update_or_create(pk=task.pk, defaults={"name": name})


def _free_name(fleet: Fleet) -> str:
    """`tick NAME`; with the fleet's id behind it if another fleet's task still has that name."""
    name = f"tick {fleet.name}"
    taken = PeriodicTask.objects.filter(name=name).exclude(pk=fleet.schedule_id)
    return f"{name} ({fleet.pk})" if taken.exists() else name
