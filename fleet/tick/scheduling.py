"""The periodic task of each fleet: its interval is the fleet's tick period, and has no second home."""

from datetime import timedelta
from typing import Final

from django.db import transaction
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from fleet.models import Fleet

DEFAULT_TICK: Final = timedelta(seconds=15)


def keep_schedule(fleet: Fleet, *, every: timedelta | None = None) -> None:
    """Make sure that beat ticks the fleet; `every` changes the period, None leaves it as it is.

    Raises:
        ValueError: the period is below one second.
    """
    if fleet.schedule is not None and every is None:
        return
    period = int((every or DEFAULT_TICK).total_seconds())
    if period < 1:
        raise ValueError("tick_seconds must be 1 or more")
    interval, _ = IntervalSchedule.objects.get_or_create(
        every=period, period=IntervalSchedule.SECONDS
    )
    with transaction.atomic():
        # A tick that waited for longer than its period is worth nothing: the next one is there.
        task, _ = PeriodicTask.objects.update_or_create(
            name=f"tick {fleet.name}",
            defaults={
                "task": "fleet.tick",
                "args": f"[{fleet.pk}]",
                "interval": interval,
                "expire_seconds": max(1, period - 1) if period > 1 else 1,
            },
        )
        if fleet.schedule_id != task.pk:
            fleet.schedule = task
            Fleet.objects.filter(pk=fleet.pk).update(schedule=task)
