"""Moments that people give lie near: far ones have no local time, and mean nothing to a fleet."""

from datetime import UTC, date, datetime, timedelta
from typing import Final

from pods.base.clock import utcnow

FARTHEST: Final = timedelta(days=3650)  # about ten years


class TooFar(ValueError):
    """A moment that a person gave is more than ten years away."""


def refuse_far(moment: datetime) -> None:
    """Refuse a moment that is more than ten years away. One without a zone counts as UTC.

    Near the years 1 and 9999 a moment cannot be said in every zone, so no page could show it.

    Raises:
        TooFar: it is; the message says between which days it may lie.
    """
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    now = utcnow()
    first, last = (now - FARTHEST).date(), (now + FARTHEST).date()
    # Differences of moments have no overflow; the moment itself in another zone may.
    if aware - now >= FARTHEST:
        raise TooFar(f"{_written(moment)} is too far ahead; give a moment before {last}")
    if now - aware >= FARTHEST:
        raise TooFar(f"{_written(moment)} is too long ago; give a moment after {first}")


def refuse_far_day(day: date) -> None:
    """Refuse a day in UTC that is more than ten years away.

    Raises:
        TooFar: it is; the message says between which days it may lie.
    """
    now = utcnow().date()
    if abs(day - now) >= FARTHEST:
        near, way = (now + FARTHEST, "before") if day > now else (now - FARTHEST, "after")
        raise TooFar(f"{day} is more than ten years away; give a day {way} {near}")


def _written(moment: datetime) -> str:
    return moment.isoformat(" ", timespec="minutes")
