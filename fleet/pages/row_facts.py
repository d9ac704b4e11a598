"""What a row of the first page shows when it is open, beside its card."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from fleet.money.spending import by_midnight
from fleet.pages import health_facts, sparks
from fleet.pages.overview import FleetCard
from fleet.pages.sparks import Point, Spark
from pods.base import indexed
from pods.durations import lasting
from pods.machine_names import short_name
from pods.models import Pod
from pods.states import READY, STOPPED

RECENT: Final = timedelta(days=1)
FAILURES_READ: Final = 500
COMING: Final = frozenset(state.value for state in health_facts.COMING)
WIDTH: Final = 1000  # of the bar of pods


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """The newest pod of a fleet that failed, or that got no machine."""

    pod: int
    name: str
    because: str
    age: str  # in whole minutes or hours, so that a page stays as it is meanwhile


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """The pods of one state in the bar of all that the fleet may have."""

    kind: str  # ready, coming, ending or stopped
    state: str
    count: int
    at: int
    width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RowFacts:
    """The facts of one row."""

    spark: Spark | None
    failure: Failure | None
    parts: Sequence[Part]
    never: str  # why its backlog is never empty at this rate; "": it is, or nobody knows
    expected_usd: Decimal  # of today, until midnight UTC


def facts_of(
    cards: Sequence[FleetCard],
    points: Mapping[int, Sequence[Point]],
    failures: Mapping[int, Failure],
    now: datetime,
) -> Mapping[int, RowFacts]:
    """The facts of these rows, by fleet."""
    return {
        card.pk: RowFacts(
            spark=sparks.spark(points.get(card.pk, ()), now=now, depth=card.depth, eta=card.eta),
            failure=failures.get(card.pk),
            parts=parts(card),
            never=never(card),
            expected_usd=by_midnight(card.spent_today_usd, card.hourly_usd, now),
        )
        for card in cards
    }


def never(card: FleetCard) -> str:
    """Why the backlog is never empty at the present rate; "": it is some time, or nothing waits."""
    if not card.depth or card.eta is not None:
        return ""
    ready = dict(card.states).get(READY.value, 0)
    return "the ready pods finish nothing" if ready else "no pod is ready"


def parts(card: FleetCard) -> Sequence[Part]:
    """The bar of the pods, as wide as the most that the fleet may have."""
    whole = max(card.max_instances, card.billable, 1)
    found, at = [], 0
    for state, count in card.states:
        width = WIDTH * count // whole
        found.append(Part(kind=_kind(state), state=state, count=count, at=at, width=width))
        at += width
    return found


def _kind(state: str) -> str:
    if state in COMING:
        return "coming"
    return state if state in {READY.value, STOPPED.value} else "ending"


def failures(fleets: Collection[int], now: datetime) -> Mapping[int, Failure]:
    """The newest failure of each fleet within a day. One query."""
    if not fleets:
        return {}
    rows = (
        Pod.objects.filter(
            indexed.has_failed(), fleet__in=fleets, requested_at__gte=now - 2 * RECENT
        )
        .order_by("-requested_at", "-pk")
        .values_list("fleet_id", "pk", "name", "failed_at", "state_since", "lost_because",
                     "retire_because", "because")
    )  # fmt: skip
    newest: dict[int, tuple[datetime, Failure]] = {}
    for fleet, pk, name, failed_at, since, *reasons in rows[:FAILURES_READ]:
        at = failed_at or since
        if now - at > RECENT or (fleet in newest and newest[fleet][0] >= at):
            continue
        because = next(filter(None, reasons), "")
        newest[fleet] = (
            at,
            Failure(pod=pk, name=short_name(name, 8), because=because, age=_age(now - at)),
        )
    return {fleet: failure for fleet, (_, failure) in newest.items()}


def _age(age: timedelta) -> str:
    unit = timedelta(minutes=1) if age < timedelta(hours=1) else timedelta(hours=1)
    return f"{lasting(age // unit * unit)} ago" if age >= unit else "just now"
