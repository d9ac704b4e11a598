"""How many pods a sum of money pays for: as fast as it allows, or at the lowest cost. Pure.

Times are in hours, work is in pod-hours, money is in USD.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, sqrt
from typing import Final

from fleet.decision.plan import Choice

# How often a vendor takes pods away before anything was seen: once in three hours of a place.
LOST_BEFORE: Final = 1.0
HOURS_BEFORE: Final = 3.0
SURE: Final = 2.0  # standard deviations of the upper bound on losses
AHEAD: Final = 0.25  # hours of a pod on demand that must be paid for before it starts
SAME: Final = 1.001  # prices this near are the same
# Below so many times the price of the work on interruptible pods, a budget may not be enough.
COMFORTABLE: Final = 1.25
TINY: Final = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Purse:
    """What is to be done with which money."""

    money: float  # what is left of the budget
    ending: float  # what it costs to end the pods that bill now
    work: float
    cap: int
    boot: float
    drain: float
    choices: Sequence[Choice]
    spot_usd: float | None  # the usual price of an interruptible pod-hour; None: never seen
    lost: float = 0.0  # interruptible pods that were taken away
    hours: float = 0.0  # hours of interruptible pods

    @property
    def per(self) -> float:
        """The hours that are billed without work when a pod is lost."""
        return self.boot + self.drain


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """The pods that the money pays for."""

    on_demand: int
    spot: dict[int, int]
    rest_usd: float | None  # what the rest costs, with the restarts to expect; None: nobody knows
    finishes: bool  # whether the money is comfortably enough
    needs_usd: float = 0.0  # what would be comfortably enough

    @property
    def pods(self) -> int:
        """The pods of both kinds."""
        return self.on_demand + sum(self.spot.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sums:
    demand_usd: float
    spot_usd: float
    up: int
    on: int
    running: int
    events: float  # times that a place is still lost, upper bound
    usual_losses: float  # an hour of a place, the expectation
    premium: float  # money beyond what the rest costs on interruptible pods


def spend(purse: Purse) -> Spending:
    """As fast as the money allows: pods on demand fill what interruptible ones cannot.

    They do so only while the money that is left finishes the rest on interruptible pods, with the
    restarts to expect.
    """
    sums = _sums(purse)
    if sums is None or purse.cap <= 0:
        return Spending(on_demand=0, spot={}, rest_usd=None, finishes=False)
    on_demand = _on_demand(purse, sums)
    pods = _interruptible(purse, sums, on_demand)
    spot = [c for c in purse.choices if c.spot]
    paid = [c for c in spot if sums.premium > 0 or c.usd <= sums.spot_usd * SAME]
    least = purse.work * sums.spot_usd
    return Spending(
        on_demand=on_demand,
        spot=fill(paid, pods),
        rest_usd=purse.money - purse.ending - sums.premium,
        finishes=purse.money >= COMFORTABLE * least,
        needs_usd=COMFORTABLE * least,
    )


def fill(choices: Sequence[Choice], pods: int) -> dict[int, int]:
    """So many pods by choice: those that run stay, new ones are the cheapest."""
    order = sorted(choices, key=lambda c: (c.usd, c.key))
    got = dict.fromkeys((c.key for c in order), 0)
    for places in ({c.key: min(c.running, c.room) for c in order}, {c.key: c.room for c in order}):
        for choice in order:
            more = max(0, min(places[choice.key] - got[choice.key], pods))
            got[choice.key] += more
            pods -= more
    return got


def _sums(purse: Purse) -> _Sums | None:
    """None: nothing can be rented, and no price is known."""
    spot = [c for c in purse.choices if c.spot]
    demand = min((c.usd for c in purse.choices if not c.spot and c.room), default=None)
    prices = [c.usd for c in spot if c.room]
    if purse.spot_usd is not None:
        prices.append(purse.spot_usd)
    spot_usd = min(prices, default=demand)
    if spot_usd is None:
        return None
    lost = LOST_BEFORE + purse.lost / max(1, purse.cap)
    watched = HOURS_BEFORE + purse.hours / max(1, purse.cap)
    events = (lost + SURE * sqrt(lost)) / watched * purse.work / max(1, purse.cap)
    boots = (events + SURE * sqrt(events) + 1) * min(purse.cap, ceil(purse.work))
    rest = purse.work * spot_usd + boots * spot_usd * purse.per
    on = sum(c.running for c in purse.choices if not c.spot)
    return _Sums(
        demand_usd=spot_usd if demand is None else demand,
        spot_usd=spot_usd,
        up=0 if not spot else min(purse.cap, sum(c.room for c in spot)),
        on=on,
        running=on + sum(c.running for c in spot),
        events=events,
        usual_losses=lost / watched,
        premium=purse.money - rest - purse.ending,
    )


def _on_demand(purse: Purse, sums: _Sums) -> int:
    if purse.money <= purse.ending:
        return 0
    want = 0
    if sums.premium > 0:
        each = sums.demand_usd * purse.per + AHEAD * max(0.0, sums.demand_usd - sums.spot_usd)
        new = purse.cap if each <= 0 else floor(sums.premium / each)
        want = min(purse.cap - sums.up, sums.on + new)
    # Enough money to go on to the end on demand: no pod changes.
    rich = purse.money - purse.ending >= (purse.work + purse.cap * purse.per) * sums.demand_usd
    return min(purse.cap, max(want, sums.on if rich else 0, 0))


def _interruptible(purse: Purse, sums: _Sums, on_demand: int) -> int:
    """How many interruptible pods; if money is short, so many that their restarts are paid for."""
    boot_usd = sums.spot_usd * purse.per
    if purse.money <= purse.ending or (not sums.running and purse.money < 2 * boot_usd):
        return 0
    places = max(0, purse.cap - on_demand)
    if sums.premium > 0:
        return places
    restarts = sums.usual_losses * purse.work * boot_usd
    over = purse.money - purse.ending - purse.work * sums.spot_usd - restarts
    each = boot_usd * (1 + SURE * sqrt(max(sums.events, TINY)))
    paid = purse.cap if each <= 0 else min(purse.cap, max(1, floor(over / each)))
    return min(places, max(paid, min(sums.running, purse.cap) if over > 0 else 0))
