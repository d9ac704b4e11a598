"""Why the spending of a day became another sum than it had been: what was booked otherwise later."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Final

from fleet.models import Fleet
from pods.base.csv import csv_lines
from pods.models import MICROS, Correction
from pods.price import cost_micros

DAY: Final = timedelta(days=1)
COLUMNS: Final = ("at", "day", "fleet", "pod", "usd", "why", "because", "since", "until")


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """By how much one correction of a pod changed the sum of one UTC day."""

    at: datetime  # when it was booked
    day: date
    fleet: str
    pod_id: int
    pod: str
    micros: int  # 1/1,000,000 USD; below 0: the sum fell
    why: Correction.Why
    since: datetime  # the time that is not booked any more, or is booked now
    until: datetime

    @property
    def usd(self) -> Decimal:
        """The change in USD."""
        return Decimal(self.micros) / MICROS

    @property
    def because(self) -> str:
        """Why, for people."""
        return str(self.why.label)


def corrections(first: date, last: date, fleet: Fleet | None = None) -> Sequence[Corrected]:
    """The corrections of the sums of these days, the newest first. One query."""
    begin = datetime.combine(first, time(), UTC)
    end = datetime.combine(last, time(), UTC) + DAY
    rows = Correction.objects.filter(until__gt=begin, since__lt=end)
    if fleet is not None:
        rows = rows.filter(fleet=fleet)
    found = rows.select_related("pod", "fleet").only(
        "at", "since", "until", "hourly_usd", "micros", "why", "pod__name", "fleet__name"
    )
    return [
        part for row in found.order_by("-at", "-pk") for part in by_day(row, first=first, last=last)
    ]


def by_day(row: Correction, *, first: date, last: date) -> Iterator[Corrected]:
    """A correction, cut at midnight (UTC). The parts of all its days add up to its sum."""
    counted, begin = 0, row.since.astimezone(UTC)
    sign = -1 if row.micros < 0 else 1
    while begin < row.until:
        night = datetime.combine(begin.date(), time(), UTC) + DAY
        until = min(night, row.until)
        reached = sign * cost_micros(row.hourly_usd, until - row.since)
        micros = (row.micros if until == row.until else reached) - counted
        if micros and first <= begin.date() <= last:
            yield Corrected(
                at=row.at, day=begin.date(), fleet=row.fleet.name, pod_id=row.pod_id,
                pod=row.pod.name, micros=micros, why=Correction.Why(row.why), since=begin, until=until,
            )  # fmt: skip
        counted, begin = reached, until


def by_days(found: Sequence[Corrected]) -> Mapping[date, Decimal]:
    """By how many USD the sum of each day was changed."""
    sums: dict[date, Decimal] = {}
    for one in found:
        sums[one.day] = sums.get(one.day, Decimal(0)) + one.usd
    return sums


def as_json(one: Corrected) -> dict[str, Any]:
    """A correction as JSON values: money as text."""
    return {
        "at": one.at.isoformat(), "day": one.day.isoformat(), "fleet": one.fleet, "pod": one.pod,
        "usd": str(one.usd), "why": one.why.value, "because": one.because,
        "since": one.since.isoformat(), "until": one.until.isoformat(),
    }  # fmt: skip


def as_csv(found: Sequence[Corrected]) -> Iterator[str]:
    """The corrections as lines of CSV."""
    return csv_lines(
        COLUMNS, ([{**as_json(one), "usd": one.usd}[name] for name in COLUMNS] for one in found)
    )
