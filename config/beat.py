"""The scheduler of beat: the database's, which a clock that was put back does not stop."""

from datetime import datetime
from typing import Any, Final

from celery.utils.time import maybe_make_aware
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from pods.base.clock import utcnow

# After a pause of the whole manager they would say that nothing was decided, before the first tick.
AFTER_AN_INTERVAL: Final = frozenset({"fleet.alert"})


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

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._began = utcnow()
        super().__init__(*args, **kwargs)

    def all_as_schedule(self) -> Any:
        """The entries. Those of AFTER_AN_INTERVAL count the start of this beat as their last run."""
        schedule = super().all_as_schedule()
        for entry in schedule.values():
            if entry.task in AFTER_AN_INTERVAL:
                entry.last_run_at = max(maybe_make_aware(entry.last_run_at), self._began)
        return schedule
