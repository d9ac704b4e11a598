"""When beat and the workers last did something, for who asks why nothing is decided."""

from dataclasses import dataclass
from datetime import datetime

from django.db.models import Max
from django_celery_beat.models import PeriodicTask

from fleet.models import Fleet, Tick
from pods.models import Account


@dataclass(frozen=True, slots=True, kw_only=True)
class LastRuns:
    """When each part was last seen at work. None: never."""

    beat: datetime | None  # sent a task
    worker: datetime | None  # decided on a fleet, or looked at an account's pods
    tick: datetime | None  # the task of this fleet was sent
    switched_on: bool  # that task is


def beat_last_sent() -> datetime | None:
    """When beat last sent a periodic task; None: never."""
    at: datetime | None = PeriodicTask.objects.aggregate(at=Max("last_run_at"))["at"]
    return at


def last_runs(fleet: Fleet | None) -> LastRuns:
    """The last runs, as rows tell them: nothing is asked that may not answer."""
    schedule = None if fleet is None else fleet.schedule
    decided = Tick.objects.order_by("-pk").values_list("at", flat=True).first()
    swept = Account.objects.aggregate(at=Max("swept_at"))["at"]
    return LastRuns(
        beat=beat_last_sent(),
        worker=max((at for at in (decided, swept) if at is not None), default=None),
        tick=None if schedule is None else schedule.last_run_at,
        switched_on=schedule is not None and schedule.enabled,
    )
