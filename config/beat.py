"""The scheduler of beat: the database's, which a clock that was put back does not stop."""

from datetime import datetime
from typing import Any

from celery.utils.time import maybe_make_aware
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry


class Entry(ModelEntry):  # type: ignore[misc]
    """A periodic task. A last run in the future counts as a run now."""

    last_run_at: datetime

    def is_due(self) -> Any:
        """Whether the task is due, and in how many seconds to ask again.

        The clock of the host that ran it last may have been ahead. Without this the task would wait
        until its last run is in the past.
        """
        now = maybe_make_aware(self._default_now())
        if maybe_make_aware(self.last_run_at) > now:
            self.last_run_at = now
        return super().is_due()


class Scheduler(DatabaseScheduler):  # type: ignore[misc]
    """django-celery-beat's scheduler with these entries."""

    Entry = Entry
