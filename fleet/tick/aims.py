"""What a fleet with a goal reads besides: boots, speeds, arrivals, and what interruptible pods did."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from statistics import fmean, median
from typing import Any, Final

from fleet.decision.goal_facts import SHOWS_SPEED_AFTER
from fleet.decision.placement import Experience
from fleet.decision.values import Goal, PodFacts
from fleet.models import Fleet
from pods.models import Pod
from pods.rules import TAKEN_RULES
from pods.states import LOST

PastTick = tuple[datetime, int | None, int, float | None]  # time, depth, pending, items/s

BOOTS_READ: Final = 100
# From so many boots on, all but one in a hundred are shorter than the bound.
BOOTS_ENOUGH: Final = 20
BOUND: Final = 0.99
PODS_ENOUGH: Final = 3
TICKS_ENOUGH: Final = 8
# Rates are measured, so a backlog to which nothing is added seems to grow or shrink a little.
LEAST_ARRIVALS: Final = 0.1  # of what the pods finish
# An interruptible pod that ended so long ago counts half.
HALF_LIFE: Final = timedelta(hours=72)
REMEMBERED: Final = timedelta(days=7)
PODS_READ: Final = 500


def facts_of_goal(
    fleet: Fleet,
    now: datetime,
    facts: Sequence[PodFacts],
    ticks: Sequence[PastTick],
    known: Experience,
    *,
    of_dataset: bool = False,
) -> dict[str, Any]:
    """The fields of a snapshot that only a goal reads; none for a fleet that goes by demand.

    Two queries. `ticks`: the newest first. `of_dataset`: the depth counts rows. It falls when a part
    is written, and not while a pod works on it, so ticks say nothing about rows that are added.
    """
    if fleet.goal == Goal.DEMAND.value:
        return {}
    return {
        "boot_bound": _boot_bound(fleet),
        "usual_items_per_second": known.usual_speed,
        "arrivals_per_second": None if of_dataset else arrivals(ticks),
        "rate_spread": spread(facts),
        **_interruptible(fleet, now),
    }


def _boot_bound(fleet: Fleet) -> timedelta:
    """What nearly every boot is shorter than: of the last ones, or the boot deadline of the fleet."""
    rows = Pod.objects.filter(fleet=fleet, ready_at__isnull=False).order_by("-requested_at")
    times = rows.values_list("ready_at", "asked_at", "requested_at")[:BOOTS_READ]
    boots = sorted(ready - (asked or requested) for ready, asked, requested in times if ready)
    return bound(boots) or timedelta(seconds=fleet.boot_seconds)


def bound(boots: Sequence[timedelta]) -> timedelta | None:
    """What all but one in a hundred are shorter than; None if there are too few. Shortest first."""
    if len(boots) < BOOTS_ENOUGH:
        return None
    return boots[min(len(boots) - 1, int(BOUND * len(boots)))]


def arrivals(ticks: Sequence[PastTick]) -> float | None:
    """Items/s that are added: the median between ticks; None: none, or too few ticks to know.

    A backlog that was filled at once between two ticks is not an arrival that goes on. `ticks`: the
    newest first.
    """
    added: list[float] = []
    finished: list[float] = []
    for (at, depth, _, _), (before, past, _, rate) in pairwise(ticks):
        seconds = (at - before).total_seconds()
        if depth is not None and past is not None and seconds > 0:
            finished.append(rate or 0.0)
            added.append((depth - past) / seconds + (rate or 0.0))
    if len(added) < TICKS_ENOUGH:
        return None
    usual = median(added)
    return usual if usual > max(0.0, LEAST_ARRIVALS * median(finished)) else None


def spread(facts: Iterable[PodFacts]) -> float | None:
    """By which share the speeds of the pods differ from their mean; None: too few are known."""
    rates = [
        f.items_per_second
        for f in facts
        if f.items_per_second
        and f.in_flight
        and f.ready_for is not None
        and f.ready_for >= SHOWS_SPEED_AFTER
    ]
    if len(rates) < PODS_ENOUGH:
        return None
    return (max(rates) - min(rates)) / 2 / fmean(rates)


def _interruptible(fleet: Fleet, now: datetime) -> dict[str, Any]:
    """How many interruptible pods were taken away, their hours, and the lowest price among them."""
    rows = (
        Pod.objects.filter(fleet=fleet, interruptible=True, booted_at__gt=now - REMEMBERED)
        .order_by("-booted_at")
        .values_list("booted_at", "ended_at", "state", "retire_rule", "hourly_usd")[:PODS_READ]
    )
    lost = hours = 0.0
    prices: list[Decimal] = []
    for booted, ended, state, rule, hourly_usd in rows:
        if booted is None:
            continue
        until = ended or now
        weight = 0.5 ** ((now - until) / HALF_LIFE)
        hours += weight * max(timedelta(0), until - booted) / timedelta(hours=1)
        lost += weight * (ended is not None and (state == LOST.value or rule in TAKEN_RULES))
        prices.append(hourly_usd)
    return {
        "spot_lost": lost,
        "spot_hours": hours,
        "spot_hourly_usd": min(prices, default=None),
    }
