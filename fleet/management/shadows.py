"""Runs `fleet shadow`: other settings beside the live ones, decided and never acted on."""

import getpass
import json
from argparse import ArgumentParser, Namespace
from typing import IO, cast

from django.core.management.base import CommandError, OutputWrapper
from rich.table import Table

from fleet import shadowing
from fleet.management.typed_values import fields_typed
from fleet.management.what_if import add_setting_argument
from fleet.models import Fleet
from fleet.pages import shadows, words
from fleet.pages.shadows import Told
from pods.base.commands import CommandConsole
from pods.plural import plural


def add_shadow_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `fleet shadow`."""
    add_setting_argument(parser)
    parser.add_argument("--off", action="store_true", help="End the shadow; keep what it found.")
    parser.add_argument(
        "--days", type=int, metavar="N",
        help=f"End it by itself after so many days (default: {shadowing.USUAL_DAYS}, at most "
        f"{shadowing.MOST_DAYS}).",
    )  # fmt: skip


def shadow(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Begin, end or show the shadow of a fleet.

    Raises:
        CommandError: a value is wrong, or there is none.
    """
    if options.off and options.set:
        raise CommandError("give --set or --off, not both", returncode=2)
    if options.days is not None and not options.set:
        raise CommandError("--days belongs to --set", returncode=2)
    if options.set:
        days = shadowing.USUAL_DAYS if options.days is None else options.days
        values = fields_typed(dict(options.set))
        shadowing.begin(fleet, values, days=days, by=getpass.getuser())
    if options.off and shadowing.end(fleet) is None:
        raise CommandError(f"{fleet.name} has no shadow that runs")
    found = shadows.told(fleet)
    if options.json:
        stdout.write(json.dumps(None if found is None else found.as_json()))
    elif found is None:
        stdout.write(
            f"{fleet.name} has no shadow; `fleet shadow {fleet.name} --set max_instances=8`"
        )
    else:
        _print(found, CommandConsole(file=cast(IO[str], stdout)))


def _print(found: Told, console: CommandConsole) -> None:
    row = found.row
    ended = (
        f"it ended {row.until:%F %H:%M} UTC" if found.over else f"until {row.until:%F %H:%M} UTC"
    )
    lines = [
        f"{row.fleet.name} with {row.said}, by {row.by}, since {row.since:%F %H:%M} UTC, {ended}"
    ]
    if row.because and not found.over:
        lines.append(f"It stands still: {row.because}.")
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if not found.lines:
        return
    console.print(_table(found))
    said = f"decided otherwise at {row.differed:,} of {plural(row.ticks, 'tick')}"
    if row.no_forecast_because and not found.over:
        said = f"no forecast of it: {row.no_forecast_because}; {said}"
    console.print(said, markup=False, highlight=False, soft_wrap=True)
    for one in found.differences[:5]:
        for text in (f"{one.at:%F %T}", f"  live    {one.live}", f"  shadow  {one.shadow}"):
            console.print(text, markup=False, highlight=False, soft_wrap=True)


def _table(found: Told) -> Table:
    table = Table(box=None)
    for column in ("", "most pods", "pod-hours", "items done", "left", "cost", "done about (UTC)"):
        table.add_column(column, no_wrap=bool(column))
    for one in found.lines:
        table.add_row(
            one.name,
            f"{one.most_pods:,}",
            f"{one.pod_hours:,.1f}",
            words.NONE if one.done is None else f"{one.done:,}",
            words.NONE if one.left is None else f"{one.left:,}",
            words.usd(one.spent_usd),
            words.NONE if one.likely_at is None else f"{one.likely_at:%F %H:%M}",
        )
    return table
