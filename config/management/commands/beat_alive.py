"""`manage.py beat_alive`: whether the scheduler sends tasks; for health checks."""

from argparse import ArgumentParser
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError
from django.db.models import Max
from django_celery_beat.models import PeriodicTask

from pods.base.clock import utcnow
from pods.base.commands import OwnCommand, seconds


class Command(OwnCommand):
    """Exits with 0 if beat has sent a task recently, else with 1."""

    help = "Whether beat has sent a periodic task within the last --seconds."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """How long ago the last task may be."""
        parser.add_argument("--seconds", type=seconds, default=60.0)

    def handle(self, *args: Any, **options: Any) -> None:
        """Read the newest `last_run_at`."""
        now, lately = utcnow(), timedelta(seconds=options["seconds"])
        # A time in the future is of a clock that was ahead: it does not show that beat sends now.
        runs = PeriodicTask.objects.filter(last_run_at__lte=now + lately)
        last = runs.aggregate(last=Max("last_run_at"))["last"]
        if last is None or now - last > lately:
            raise CommandError(f"beat has sent nothing since {last}")
