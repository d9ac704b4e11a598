"""The alert rules about a fleet's ticks of the last minutes. Pure.

Each of them asks every tick whether the cause was there. An alert begins only if each tick of the whole
window says so. It ends only when a tick says that the cause was not there: a gap between two ticks, or a
tick that could not read the backlog, ends nothing.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Final

from fleet.decision.alert_facts import AlertFacts, Cause, FleetSeen, Incident, Severity, TickSeen
from fleet.decision.values import Rule
from pods.plural import plural

PODS_FAILED: Final = 3
TICKS_MISSED: Final = 3
# A rule that says "all the time" needs ticks from nearly the whole window.
WINDOW: Final = timedelta(minutes=10)
WINDOW_SEEN: Final = timedelta(minutes=9)
WINDOW_TEXT: Final = f"{WINDOW.total_seconds() / 60:.0f} min"
GROWTH: Final = 1.1
# An operator asked for it, and every page shows the mode.
ASKED_FOR: Final = frozenset({Rule.PAUSED, Rule.STOP_ALL})
# Causes that only the ticks of a whole window can show.
OVER_THE_WINDOW: Final = (
    Cause.NO_PODS,
    Cause.BACKLOG_UNKNOWN,
    Cause.BACKLOG_GROWS,
    Cause.NOT_DRAINED,
)


def undecided_since(
    *, created: datetime, restored: datetime | None, decided: datetime | None
) -> datetime:
    """Since when nothing is decided on a fleet.

    `decided`: its last decision. A fleet that comes back from the archive may have one of months ago.
    """
    return max((moment for moment in (restored, decided) if moment is not None), default=created)


def is_unattended(undecided_for: timedelta, period: timedelta) -> bool:
    """Whether decisions have been missing for so long that beat or the workers may not run.

    `undecided_for`: since the last decision, or since the fleet was made.
    """
    return undecided_for > TICKS_MISSED * period


Verdicts = Sequence[bool | None]  # of the ticks: whether the cause was there; None: nobody knows


def no_pods(facts: AlertFacts) -> Iterator[Incident]:
    """Items wait, and for the whole window the fleet got no machine, or no further one."""
    for fleet in facts.fleets:
        if not fleet.ticks:
            continue
        why = "; ".join(fleet.refusals) or fleet.ticks[-1].because or "no reason is known"
        waits = f"{_waiting(fleet)} waiting for {WINDOW_TEXT}"
        if _gets_none(fleet, facts.now):
            text = f"{waits}, and no pod has a machine: {why}"
            yield of_fleet(fleet, Cause.NO_PODS, Severity.CRITICAL, text)
        elif _lasts(fleet, Cause.NO_PODS, [_no_further(t) for t in fleet.ticks], facts.now):
            text = f"{waits}, and no further pod can be rented: {why}"
            yield of_fleet(fleet, Cause.NO_PODS, Severity.WARNING, text)


def _waiting(fleet: FleetSeen) -> str:
    known = [t.depth for t in fleet.ticks if t.depth is not None]
    return plural(known[-1], "item") if known else "items"


def _gets_none(fleet: FleetSeen, now: datetime) -> bool:
    """Whether it wants pods and has no machine, although nobody asked for that.

    Pods that fail one after another have an alert of their own.
    """
    if fleet.machines or fleet.failing >= PODS_FAILED:
        return False
    return _lasts(fleet, Cause.NO_PODS, [_got_none(t) for t in fleet.ticks], now)


def _got_none(tick: TickSeen) -> bool | None:
    if tick.ready or tick.depth == 0 or tick.binding in ASKED_FOR:
        return False
    return None if tick.depth is None else bool(tick.binding or tick.spawned)


def _no_further(tick: TickSeen) -> bool | None:
    if tick.spawned or tick.depth == 0:
        return False
    return None if tick.depth is None else tick.binding == Rule.NO_OFFERS


def unknown_backlogs(facts: AlertFacts) -> Iterator[Incident]:
    """For the whole window nobody knows whether items wait, so no pod starts.

    Where an operator asked that none starts, and none is there, it makes no difference.
    """
    with_pods = {pod.fleet_id for pod in facts.pods}
    for fleet in facts.fleets:
        if fleet.held and fleet.fleet_id not in with_pods:
            continue
        verdicts = [t.depth is None for t in fleet.ticks]
        if _lasts(fleet, Cause.BACKLOG_UNKNOWN, verdicts, facts.now):
            text = f"the backlog has been unknown for {WINDOW_TEXT}: {fleet.ticks[-1].because}"
            yield of_fleet(fleet, Cause.BACKLOG_UNKNOWN, Severity.CRITICAL, text)


def unseen(facts: AlertFacts) -> Iterator[Incident]:
    """What was open of a fleet whose ticks are all gone: nobody has seen that it ended."""
    for fleet in facts.fleets:
        if fleet.scheduled and not fleet.ticks:
            yield from (fleet.open[cause] for cause in OVER_THE_WINDOW if cause in fleet.open)


def backlogs(facts: AlertFacts) -> Iterator[Incident]:
    """A backlog grows although all pods run, or does not shrink although pods are ready."""
    for fleet in facts.fleets:
        if not fleet.ticks:
            continue
        yield from _growth(fleet, facts.now)
        if _lasts(fleet, Cause.NOT_DRAINED, _standing(fleet.ticks), facts.now):
            yield of_fleet(
                fleet,
                Cause.NOT_DRAINED,
                Severity.CRITICAL,
                f"items wait, and {plural(fleet.ticks[-1].ready, 'ready pod')} finished none for "
                f"{WINDOW_TEXT}",
            )


def _growth(fleet: FleetSeen, now: datetime) -> Iterator[Incident]:
    """The backlog grew. Part of a window is too short to show that, so only a fall ends an alert."""
    first, last = fleet.ticks[0].depth, fleet.ticks[-1].depth
    whole = _whole_window(fleet, now)
    grew = None if first is None or last is None else last > first * GROWTH
    fell = first is not None and last is not None and last < first
    at_max = [t.active >= fleet.max_instances for t in fleet.ticks]
    verdicts = [grew if whole else False if fell else None, *at_max]
    if not _lasts(fleet, Cause.BACKLOG_GROWS, verdicts, now):
        return
    if grew and whole:
        text = (
            f"the backlog grew from {first:,} to {last:,} items with all "
            f"{fleet.max_instances} pods at work"
        )
        yield of_fleet(fleet, Cause.BACKLOG_GROWS, Severity.WARNING, text)
    else:
        yield fleet.open[Cause.BACKLOG_GROWS]


def _standing(ticks: Sequence[TickSeen]) -> Verdicts:
    """Items wait, pods are ready, and neither a rate nor a falling depth shows any work."""
    known = [t.depth for t in ticks if t.depth is not None]
    return [all(a <= b for a, b in pairwise(known)), *(_stands(t) for t in ticks)]


def _stands(tick: TickSeen) -> bool | None:
    if not tick.ready or tick.items_per_second or tick.depth == 0:
        return False
    return None if tick.depth is None else True


def _lasts(fleet: FleetSeen, cause: Cause, verdicts: Verdicts, now: datetime) -> bool:
    """Whether an alert of this cause begins, or has not ended.

    A fleet that nobody lets tick any more has no alert of its old ticks.
    """
    if not fleet.ticks or False in verdicts:
        return False
    if not fleet.scheduled and now - fleet.ticks[-1].at > WINDOW:
        return False
    return cause in fleet.open or (None not in verdicts and _whole_window(fleet, now))


def _whole_window(fleet: FleetSeen, now: datetime) -> bool:
    """Whether the ticks reach back over the whole window without a gap. It needs two at least."""
    widest = max(WINDOW, TICKS_MISSED * fleet.period)
    since, count = now, 0
    for tick in reversed(fleet.ticks):
        if since - tick.at > widest:
            break
        since, count = tick.at, count + 1
    return count > 1 and now - since >= WINDOW_SEEN


def of_fleet(fleet: FleetSeen, cause: Cause, severity: Severity, text: str) -> Incident:
    """An incident of a whole fleet."""
    return Incident(
        cause=cause,
        subject=f"fleet:{fleet.fleet_id}",
        severity=severity,
        text=f"{fleet.name}: {text}",
        fleet_id=fleet.fleet_id,
    )
