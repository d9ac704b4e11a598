"""The scheduler of beat: the database's, which a clock that was put back does not stop."""

from datetime import datetime
from typing import Any, Final

import structlog
from celery.utils.time import maybe_make_aware
from django.db import DatabaseError, InterfaceError, close_old_connections, transaction
from django_celery_beat.schedulers import DatabaseScheduler, ModelEntry

from pods.base.clock import utcnow

log = structlog.get_logger(__name__)
# How old the written times may become. The health check of beat asks for the last minute; an
# installation without fleets sends its tasks every few seconds.
WRITE_SECONDS: Final = 10
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

    def save(self) -> None:
        """Write when it ran, in one statement: an edit in the admin at this moment is kept.

        A task that was switched off has no last run, else it would run at once when it is switched on.
        """
        type(self.model)._default_manager.filter(pk=self.model.pk, enabled=True).update(
            last_run_at=self.model.last_run_at, total_run_count=self.model.total_run_count
        )


class Scheduler(DatabaseScheduler):  # type: ignore[misc]
    """django-celery-beat's scheduler with these entries."""

    Entry = Entry
    # Celery would write every three minutes, so a beat at work would look silent for two of them.
    sync_every = WRITE_SECONDS

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._began = utcnow()
        super().__init__(*args, **kwargs)

    def sync(self) -> None:
        """Write the times of all tasks that were sent since the last time, in one transaction."""
        if not self._dirty:
            return
        close_old_connections()  # the server may have gone since the last time
        sent = [entry for name, entry in self._schedule.items() if name in self._dirty]
        try:
            with transaction.atomic():
                for entry in sent:
                    entry.save()
        except (DatabaseError, InterfaceError) as exc:  # the next call writes them
            log.warning("beat_times_not_written", error=type(exc).__name__)
        else:
            self._dirty.clear()

    def all_as_schedule(self) -> Any:
        """The entries. Those of AFTER_AN_INTERVAL count the start of this beat as their last run."""
        schedule = super().all_as_schedule()
        for entry in schedule.values():
            if entry.task in AFTER_AN_INTERVAL:
                entry.last_run_at = max(maybe_make_aware(entry.last_run_at), self._began)
        return schedule
