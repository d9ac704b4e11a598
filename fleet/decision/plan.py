"""How many pods a deadline needs, and of which kind. Pure.

Times are in hours, work is in pod-hours, money is in USD per pod-hour of work. Interruptible ("spot")
offers are cheap and come and go. Offers on demand cost more and stay. All loss comes from restarts, so
a share of the spare time is kept for them, and pods on demand start while there is still some left.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Final

from pods.plural import plural

# Restarts an hour and place that are kept in reserve: 2.6 times what three recordings of a spot market
# show that were used to choose it.
RESTARTS: Final = 0.65
LIVES: Final = 3.0  # hours that an interruptible pod is thought to live
SETTLED: Final = (
    1.0  # hours for which a cheaper offer must have stood before running pods move to it
)
ALMOST: Final = 1e-9
MINUTES: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """An offer on which pods run or can start."""

    key: int  # orders equally cheap ones
    usd: float  # of one pod-hour of work
    spot: bool  # the vendor may take its pods away
    room: int  # the pods that can be had now, with ours
    running: int = 0  # our pods that work or will work
    stood: float = 0.0  # hours for which it has been on offer without a break


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What is to be done until when, and with what."""

    hours_left: float
    work: float  # pod-hours that are left until the deadline, with what will still arrive
    waiting: float  # pod-hours of the items that are there now
    cap: int  # the most pods that the guardrails on number and money allow
    boots_under_way: float  # pod-hours that booting pods still need until they work
    boot: float  # the median boot
    # The longest boot on demand, the ramp of the whole fleet, the proof that a pod is gone, a drain and
    # two ticks.
    net: float
    tick: float = 0.0  # between two decisions
    longest: float = 0.0  # the longest boot
    slow: float = 0.0  # pod-hours by which boots on demand under way may still exceed the median
    # For each place without a pod: hours until one works there on demand, if all goes badly.
    vacant: Sequence[float] = ()
    choices: Sequence[Choice] = ()
    drain: float = 1 / MINUTES
    block: float | None = None  # pod-hours that a pod should find waiting; None: nothing arrives

    @property
    def move(self) -> float:
        """The hours without work of a place whose pod is changed."""
        return self.boot + self.drain

    @property
    def safe(self) -> float:
        """The spare hours of a place whose pod can still be replaced after the next decision."""
        return self.net + self.tick

    @property
    def most(self) -> int:
        """The most pods that the waiting work keeps busy, if more arrives later."""
        return self.cap if self.block is None else min(self.cap, ceil(self.waiting / self.block))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The pods of each kind, and what they rest on."""

    on_demand: int
    spot: Mapping[int, int]  # pods by the key of their choice
    spare: float  # pod-hours beyond the work
    reserve: float  # pod-hours of these that are kept for restarts
    makes_it: bool  # also if every interruptible pod goes now
    needs: int  # pods on demand that would make it from now on
    must: int  # places that could not be saved any more if every interruptible pod went now
    because: str

    @property
    def pods(self) -> int:
        """The pods of both kinds."""
        return self.on_demand + sum(self.spot.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class _Figures:
    """What the steps of the plan share."""

    spot: Sequence[Choice]  # the cheapest first
    demand: Choice | None  # the cheapest on demand
    on: int  # our pods on demand
    up: int  # places that interruptible pods can fill
    missing: int  # places that they cannot fill
    spare: float
    reserve: float
    span: float  # hours that a pod which starts now is thought to work
    must: int

    @property
    def best_usd(self) -> float:
        """The cheapest interruptible pod-hour that can be had."""
        return min(c.usd for c in self.spot if c.room)


def plan(task: Task) -> Plan:
    """The pods on demand and the interruptible ones that keep the deadline at the least cost."""
    if task.cap <= 0:
        why = "no place: a guardrail allows no pod"
        return Plan(
            on_demand=0, spot={}, spare=0.0, reserve=0.0, makes_it=False, needs=0, must=0,
            because=why,
        )  # fmt: skip
    seen = _figures(task)
    want = _on_demand(task, seen)
    works = task.hours_left - task.net
    needs = ceil(task.work / works - ALMOST) if works > 0 else 0
    makes_it = seen.demand is not None and seen.spare - task.slow >= _firm(task, seen) - ALMOST
    return Plan(
        on_demand=want,
        spot=_spot(task, seen, rest=max(0, task.most - want)),
        spare=seen.spare,
        reserve=seen.reserve,
        makes_it=makes_it,
        needs=needs,
        must=seen.must,
        because=_because(task, seen, want=want, needs=needs, makes_it=makes_it),
    )


def _figures(task: Task) -> _Figures:
    cap, hours = task.cap, task.hours_left
    spot = sorted((c for c in task.choices if c.spot), key=lambda c: (c.usd, c.key))
    able = [c for c in task.choices if not c.spot and c.room]
    on = sum(c.running for c in task.choices if not c.spot)
    up = min(cap, sum(c.room for c in spot))
    spare = cap * hours - task.work - task.boots_under_way
    late = spare < 0
    return _Figures(
        spot=spot,
        demand=min(able, key=lambda c: c.usd, default=None),
        on=on,
        up=up,
        missing=cap - up,
        spare=spare,
        reserve=RESTARTS * (task.boot + task.move) * cap * hours,
        span=min(LIVES, task.work / cap),
        must=max(cap - up, on) if late else _must(task, on, spare - task.slow),
    )


def _must(task: Task, on: int, spare: float) -> int:
    """The fewest places on demand with which the others can still be saved after the next decision.

    A place on demand that has no pod yet needs its own time until one works there.
    """
    waits = sorted(task.vacant)
    many = max(0, task.cap - floor(max(0.0, spare) / task.safe + ALMOST))
    while many < task.cap:
        coming = sum(waits[: max(0, many - on)])
        if (task.cap - many) * task.safe + coming <= spare + ALMOST:
            break
        many += 1
    return many


def _firm(task: Task, seen: _Figures) -> float:
    """The spare pod-hours that it takes until all places work on demand, if all others are lost now.

    The time that a place without a pod has already waited does not count again. So a promise that
    was made with time for the loss of a pod holds when that pod is lost.
    """
    others = task.cap - seen.on - len(task.vacant)
    return others * task.net + sum(min(hours, task.net) for hours in task.vacant)


def _on_demand(task: Task, seen: _Figures) -> int:
    """How many pods run on demand."""
    if seen.demand is None:
        return seen.on
    short = seen.spare <= seen.reserve + task.cap * task.net
    want = seen.missing if short else min(seen.on, seen.missing)
    if seen.up:
        want = max(want if short else 0, seen.on - _replaced(task, seen, seen.demand))
    return _after_boots(task, seen, min(task.cap, max(min(want, task.most), seen.must)))


def _after_boots(task: Task, seen: _Figures, want: int) -> int:
    """As many on demand as must be once new interruptible pods have booted, which uses up spare time.

    Otherwise such a pod starts, and ends in the next tick.
    """
    if seen.spare < 0:
        return want
    running = sum(c.running for c in seen.spot)
    while new := max(0, min(seen.up, task.most - want) - running):
        boots = new * task.boot + max(0, want - seen.on) * task.longest
        if want >= _must(task, seen.on, seen.spare - task.slow - boots):
            break
        want += 1
    return want


def _replaced(task: Task, seen: _Figures, demand: Choice) -> int:
    """How many pods on demand become interruptible ones: what the spare time allows, if it pays."""
    saved = (demand.usd - seen.best_usd) * seen.span
    if saved <= seen.best_usd * task.boot + demand.usd * task.move:
        return 0
    free = max(0.0, seen.spare - task.slow - (task.cap - seen.on) * task.safe)
    return min(seen.on, floor(free / (task.move + task.safe) + ALMOST))


def _spot(task: Task, seen: _Figures, *, rest: int) -> dict[int, int]:
    """The interruptible pods by choice: those that run stay, new ones are the cheapest."""
    stay = _staying(task, seen)
    pods = dict.fromkeys((c.key for c in seen.spot), 0)
    for places in (stay, {c.key: c.room for c in seen.spot}):
        for choice in seen.spot:
            more = max(0, min(places[choice.key] - pods[choice.key], rest))
            pods[choice.key] += more
            rest -= more
    return pods


def _staying(task: Task, seen: _Figures) -> dict[int, int]:
    """The running pods that do not move to a settled, cheaper offer. Moves use up spare time."""
    stay = {c.key: min(c.running, c.room) for c in seen.spot}
    better = [c for c in seen.spot if c.stood >= SETTLED and c.room > stay[c.key]]
    if not better:
        return stay
    usd, places = better[0].usd, max(c.room - stay[c.key] for c in better)
    spare = seen.spare - seen.reserve - task.cap * task.net
    free = max(0, min(task.cap, floor(spare / task.move)))
    for choice in reversed(seen.spot[1:]):
        if (choice.usd - usd) * seen.span > usd * task.boot + choice.usd * task.drain:
            moving = min(stay[choice.key], free, places)
            stay[choice.key] -= moving
            free -= moving
    return stay


def _because(task: Task, seen: _Figures, *, want: int, needs: int, makes_it: bool) -> str:
    cap, net = task.cap, task.net * MINUTES
    if seen.demand is None:
        return "nothing can be had on demand: no promise, spot as it comes"
    if seen.spare < 0:
        return late_words(task, needs=needs)
    if not makes_it:
        return (
            f"on the edge: {seen.spare / cap * MINUTES:.0f} min to spare, a boot takes up to "
            f"{net:.0f}: {want} on demand"
        )
    doing = f"{want} on demand" if want else "spot alone" if seen.up else "waits for spot"
    return (
        f"{seen.spare / cap:.1f} h to spare, {seen.reserve / cap:.1f} h of them kept for restarts, "
        f"{net:.0f} min for the last boot: {doing}"
    )


def late_words(task: Task, *, needs: int) -> str:
    """Why a deadline cannot be kept, whatever can be rented."""
    left = (task.work + task.boots_under_way) / task.cap
    if task.hours_left <= 0:
        return f"the deadline has passed: {left:.1f} h left to do with {task.cap} pods"
    if task.hours_left <= task.net:
        return (
            f"too late for a boot: {_are_left(task)}, a boot takes up to {task.net * MINUTES:.0f}"
        )
    return (
        f"cannot make it: needs {needs} pods, cap {task.cap}; {left:.1f} h left to do, "
        f"{task.hours_left:.1f} h to go"
    )


def _are_left(task: Task) -> str:
    minutes = round(task.hours_left * MINUTES)
    if minutes < 1:
        return "less than 1 minute is left"
    return f"{plural(minutes, 'minute')} {'is' if minutes == 1 else 'are'} left"
