"""Manual holds: an operator sets the number of pods of a fleet until a time, and ends that."""

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from enum import StrEnum
from typing import Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import QuerySet

from fleet import operating
from fleet.models import Override
from fleet.models.fields import near
from pods.base.clock import utcnow

MORNING: Final = time(8)


class Lasts(StrEnum):
    """How long a hold lasts, as an operator chooses it."""

    HOUR = "1h"
    FOUR_HOURS = "4h"
    MORNING = "morning"
    OTHER = "other"


HOURS: Final[Mapping[Lasts, int]] = {Lasts.HOUR: 1, Lasts.FOUR_HOURS: 4}


def until(lasts: Lasts, *, now: datetime) -> datetime | None:
    """The end of a hold; None: the operator gives it. The morning is that of the zone of `now`."""
    if lasts is Lasts.OTHER:
        return None
    if lasts is Lasts.MORNING:
        return datetime.combine(now.date() + timedelta(days=1), MORNING, tzinfo=now.tzinfo)
    return now + timedelta(hours=HOURS[lasts])


def hold(wanted: Override, *, by: str) -> None:
    """Write a hold, new or changed; the newest one that lasts holds from the next tick.

    Raises:
        ValidationError: a value is wrong, its end is over or too far, or the fleet is archived.
    """
    wanted.by = by[:150]
    wanted.full_clean()
    operating.refuse_archived(wanted.fleet)
    if wanted.until <= utcnow():
        raise ValidationError({"until": f"{wanted.until:%F %T %Z} is over; give a later time"})
    refuse_far_end(wanted.until)
    wanted.save()


def refuse_far_end(end: datetime) -> None:
    """Refuse a hold that lasts more than ten years.

    Raises:
        ValidationError: it does, with a message for its end.
    """
    try:
        near(end)
    except ValidationError as exc:
        raise ValidationError({"until": exc}) from exc


def end_now(holds: QuerySet[Override], *, now: datetime) -> int:
    """End the holds that last; return how many. The formula decides from the next tick."""
    with transaction.atomic():
        lasting = list(holds.filter(until__gt=now))
        for row in lasting:
            row.until = now
            row.save(update_fields=["until"])
    return len(lasting)
