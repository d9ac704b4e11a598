"""Runs `fleet what-if`: what the last day would have been with other settings."""

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from datetime import datetime, timedelta
from typing import Any, Final

from django.core.management.base import CommandError, OutputWrapper
from django.utils.dateparse import parse_datetime
from rich.table import Table

from fleet import operating
from fleet.comparing import Compared, compared, courses, policy_changes
from fleet.decision.what_if import TooLittle
from fleet.management.courses import course_as_json
from fleet.management.traces import add_trace_arguments, on_traces, refuse_alone
from fleet.management.typed_values import fields_typed
from fleet.models import Fleet
from fleet.pages import words
from pods.base.clock import utcnow
from pods.base.commands import CommandConsole
from pods.base.near import TooFar, refuse_far
from pods.plural import plural

USUAL: Final = timedelta(hours=24)


def add_what_if_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `fleet what-if`."""
    add_setting_argument(parser)
    text = "with its zone, such as 2026-12-01T08:00Z"
    parser.add_argument("--from", dest="since", type=moment, help=f"The beginning, {text}.")
    parser.add_argument("--to", dest="until", type=moment, help="The end (default: now).")
    add_trace_arguments(parser)


def add_setting_argument(parser: ArgumentParser) -> None:
    """Add the argument of settings that differ."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        type=_setting,
        metavar="FIELD=VALUE",
        help="Another value of a setting, such as max_instances=8; may be repeated.",
    )


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    name = name.strip().replace("-", "_")
    if not equals or name not in operating.EDITABLE:
        raise ArgumentTypeError(f"{text!r}: give a field of `fleet set` and a value, FIELD=VALUE")
    return name, value


def moment(text: str) -> datetime:
    """The moment that an argument names.

    Raises:
        ArgumentTypeError: it names none, or it has no zone.
    """
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


def what_if(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Compare, and print.

    Raises:
        CommandError: a setting or the time is wrong, or too little was recorded.
    """
    if options.trace:
        on_traces(fleet, options, stdout)
        return
    refuse_alone(options)
    until = options.until or utcnow()
    since = options.since or until - USUAL
    if since >= until:
        raise CommandError(f"--from {since:%F %T} is not before --to {until:%F %T}", returncode=2)
    changes = policy_changes(fleet, fields_typed(dict(options.set)))
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


def _table(found: Compared, said: str) -> Table:
    table = Table(box=None)
    for column in ("", "most pods", "pod-hours", "cost", "done at (UTC)", "left"):
        table.add_column(column, no_wrap=bool(column))
    for name, course in courses(found, said):
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


def _as_json(found: Compared, said: str) -> dict[str, Any]:
    named = {"recorded": found.recorded, "model": found.model, "changed": found.changed}
    told = {name: course_as_json(course) for name, course in named.items() if course}
    return {"set": said, "each": found.each, **told}
