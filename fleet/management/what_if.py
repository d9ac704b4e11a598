"""Runs `fleet what-if`: what the last day would have been with other settings."""

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from typing import Any, Final

from django.core.management.base import CommandError, OutputWrapper
from django.utils.dateparse import parse_datetime
from rich.table import Table

from fleet import operating
from fleet.decision.values import Policy
from fleet.decision.what_if import Course, Moment, Recorded, TooLittle, as_recorded, replay
from fleet.management.typed_values import fields_typed
from fleet.models import Fleet, Limits, Tick
from fleet.pages import words
from fleet.tick.policies import policy_of
from fleet.tick.recording import replayed, replayed_policy
from pods.base.clock import utcnow
from pods.base.commands import CommandConsole
from pods.base.near import TooFar, refuse_far
from pods.plural import plural

USUAL: Final = timedelta(hours=24)
MOST_TICKS: Final = 6_000  # a day of them, with the usual period
MOST_POINTS: Final = 200  # of a course in JSON


def add_what_if_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `fleet what-if`."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="FIELD=VALUE",
        help="Another value of a setting, such as max_instances=8; may be repeated.",
    )
    text = "with its zone, such as 2026-12-01T08:00Z"
    parser.add_argument("--from", dest="since", type=_moment, help=f"The beginning, {text}.")
    parser.add_argument("--to", dest="until", type=_moment, help="The end (default: now).")


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or name not in operating.EDITABLE:
        raise ArgumentTypeError(f"{text!r}: give a field of `fleet set` and a value, FIELD=VALUE")
    return name, value


def _moment(text: str) -> datetime:
    try:
        found = parse_datetime(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise ArgumentTypeError(f"{text!r}: give a moment with its zone: 2026-12-01T08:00Z")
    try:
        refuse_far(found)
    except TooFar as exc:
        raise ArgumentTypeError(str(exc)) from exc
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The course that was, the model of it, and the model with the other settings."""

    recorded: Course
    model: Course
    changed: Course | None  # None: no setting is another one
    each: int  # one of so many decisions was read


def what_if(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Compare, and print.

    Raises:
        CommandError: a setting or the time is wrong, or too little was recorded.
    """
    until = options.until or utcnow()
    since = options.since or until - USUAL
    if since >= until:
        raise CommandError(f"--from {since:%F %T} is not before --to {until:%F %T}", returncode=2)
    changes = _changes(fleet, dict(options.set))
    try:
        found = compared(fleet, since, until, changes)
    except TooLittle as exc:
        raise CommandError(
            f"{fleet.name}, {since:%F %H:%M} to {until:%F %H:%M} UTC: {exc}"
        ) from exc
    said = ", ".join(f"{name}={value}" for name, value in options.set)
    if options.json:
        stdout.write(json.dumps(_as_json(found, said)))
        return
    CommandConsole().print(_table(found, said))
    if found.each > 1:
        stdout.write(f"one of {found.each} decisions was read; take a shorter time for all of them")


def _changes(fleet: Fleet, typed: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a policy that these settings change.

    Raises:
        ValidationError: a value is wrong.
        CommandError: no decision depends on them.
    """
    if not typed:
        return {}
    edited = copy(fleet)
    for name, value in fields_typed(typed).items():
        field: Any = Fleet._meta.get_field(name)
        setattr(edited, name, field.clean(value, edited))
    edited.full_clean(exclude=["schedule"])
    limits, now = Limits.get(), utcnow()
    before, after = policy_of(fleet, limits, now), policy_of(edited, limits, now)
    changed = {
        f.name: getattr(after, f.name)
        for f in fields(Policy)
        if getattr(before, f.name) != getattr(after, f.name)
    }
    if not changed:
        names = ", ".join(typed)
        raise CommandError(f"{names}: that is the present value, or no decision depends on it")
    return changed


def compared(
    fleet: Fleet, since: datetime, until: datetime, changes: Mapping[str, Any]
) -> Compared:
    """The courses of a fleet between two moments.

    Raises:
        TooLittle: the recorded ticks do not say enough.
    """
    ticks, each = _ticks(fleet, since, until)
    return Compared(
        recorded=as_recorded(ticks),
        model=replay(ticks),
        changed=replay(ticks, lambda policy: replace(policy, **changes)) if changes else None,
        each=each,
    )


def _ticks(fleet: Fleet, since: datetime, until: datetime) -> tuple[Sequence[Recorded], int]:
    rows = Tick.objects.filter(fleet=fleet, at__gte=since, at__lte=until).order_by("at")
    each = -(-rows.count() // MOST_TICKS) or 1
    keys = [] if each == 1 else list(rows.values_list("pk", flat=True))[::each]
    present = policy_of(fleet, Limits.get(), until)
    found = rows if each == 1 else Tick.objects.in_bulk(keys).values()
    return [
        Recorded(
            seen=replayed(tick.snapshot),
            policy=replayed_policy(tick.policy) if tick.policy else present,
        )
        for tick in sorted(found, key=lambda tick: tick.at)
    ], each


def _table(found: Compared, said: str) -> Table:
    table = Table(box=None)
    for column in ("", "most pods", "pod-hours", "cost", "done at (UTC)", "left"):
        table.add_column(column, no_wrap=bool(column))
    for name, course in _courses(found, said):
        done = f"{course.done_at:%F %H:%M}" if course.done_at else "–"
        table.add_row(
            name,
            f"{course.most_pods:,}",
            f"{course.pod_hours:,.1f}",
            words.usd(course.spent_usd),
            done,
            "–" if course.left is None else plural(course.left, "item"),
        )
    return table


def _courses(found: Compared, said: str) -> list[tuple[str, Course]]:
    shown = [("as it was", found.recorded), ("model of it", found.model)]
    return [*shown, (f"with {said}", found.changed)] if found.changed else shown


def _as_json(found: Compared, said: str) -> dict[str, Any]:
    named = {"recorded": found.recorded, "model": found.model, "changed": found.changed}
    told = {name: _course(course) for name, course in named.items() if course}
    return {"set": said, "each": found.each, **told}


def _course(course: Course) -> dict[str, Any]:
    step = -(-len(course.moments) // MOST_POINTS)
    return {
        "most_pods": course.most_pods,
        "pod_hours": round(course.pod_hours, 3),
        "cost_usd": str(course.spent_usd),
        "done_at": course.done_at.isoformat() if course.done_at else None,
        "left": course.left,
        "points": [_point(moment) for moment in course.moments[::step]],
    }


def _point(moment: Moment) -> dict[str, Any]:
    return {
        "at": moment.at.isoformat(),
        "depth": moment.depth,
        "pods": moment.pods,
        "ready": moment.ready,
        "hourly_usd": str(moment.hourly_usd),
        "spent_usd": str(moment.spent_usd),
        "binding": moment.binding,
    }
