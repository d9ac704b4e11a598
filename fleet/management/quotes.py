"""Runs `fleet quote`: what a number of items would take and cost."""

import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import IO, Final, cast

from django.core.management.base import CommandError, OutputWrapper
from rich.table import Table

from fleet import quoting
from fleet.decision.outlook import NoOutlook, Outlook
from fleet.decision.quote import Asked, Line, Quote
from fleet.management.what_if import moment
from fleet.models import Fleet
from fleet.pages import words
from fleet.quoting import BadQuote
from pods.base.commands import CommandConsole
from pods.plural import plural

NAME_WIDTH: Final = 22  # where a terminal has 80 columns
HOUR: Final = timedelta(hours=1)
NEVER: Final = "?"  # later than the replays go


def add_quote_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `fleet quote`."""
    parser.add_argument("--items", type=_count, required=True, help="How many items.")
    parser.add_argument(
        "--by", type=moment, help="Done by then, with its zone, such as 2026-12-04T18:00+01:00."
    )
    parser.add_argument("--at-most", type=_usd, metavar="USD", help="The money that may be spent.")
    parser.add_argument(
        "--items-per-second",
        type=float,
        metavar="RATE",
        help="Of one pod; without it, what the fleet's pods showed.",
    )


def _count(text: str) -> int:
    plain = text.replace(",", "").replace("_", "")
    if not plain.isascii() or not plain.isdigit() or len(plain) > 13:
        raise ArgumentTypeError(f"{text!r}: give a whole number of items")
    return int(plain)


def _usd(text: str) -> Decimal:
    try:
        found = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or not 0 < found < 10**8:
        raise ArgumentTypeError(f"{text!r}: give USD above 0, such as 90")
    return found


def quote(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Print the quote.

    Raises:
        CommandError: a value is wrong, or nothing can be said.
    """
    asked = Asked(
        items=options.items, by=options.by, at_most_usd=options.at_most,
        items_per_second=options.items_per_second,
    )  # fmt: skip
    try:
        found = quoting.quote_of(fleet, asked)
    except BadQuote as exc:
        raise CommandError(str(exc), returncode=2) from exc
    except NoOutlook as exc:
        raise CommandError(f"{fleet.name}: {exc}; give --items-per-second of one pod") from exc
    if options.json:
        stdout.write(json.dumps(quoting.as_json(found)))
        return
    console = CommandConsole(file=cast(IO[str], stdout))
    console.print(_table(found))
    for line in (*_promises(found), *quoting.assumptions(found)):
        console.print(line, markup=False, highlight=False)


def _promises(found: Quote) -> list[str]:
    said = []
    if found.plan.on_time is not None and found.asked.by is not None:
        said.append(
            f"It is done by {found.asked.by:%F %H:%M %Z} in {100 * found.plan.on_time:.0f} % of the "
            "replays."
        )
    if found.plan.money_ends:
        said.append(
            f"In {100 * found.plan.money_ends:.0f} % of the replays the money ends first; about "
            f"{plural(found.plan.left, 'item')} {'is' if found.plan.left == 1 else 'are'} left then."
        )
    return [*said, f"{found.risk}."] if found.risk else said


def _table(found: Quote) -> Table:
    title = f"{plural(found.asked.items, 'item')}, goal {found.goal.value}"
    table = Table(box=None, title=title, title_justify="left", collapse_padding=True)
    table.add_column("", min_width=NAME_WIDTH)
    for column in ("items/s", "pods", "pod-hours", "hours", "cost"):
        table.add_column(column, no_wrap=True)
    table.add_row("the fleet's plan", "", *_figures(found.plan), style="bold")
    for line in found.lines:
        rate = words.per_second(line.items_per_second)
        table.add_row(_named(line), rate, *_figures(line.expected))
    return table


def _named(line: Line) -> str:
    offer = line.offer
    gpu = f"{offer.gpu_count}× {offer.gpu_type}" if offer.gpu_type else "no GPU"
    kind = " interruptible" if offer.interruptible else ""
    return (
        f"{gpu}{f', {offer.region}' if offer.region else ''}{kind}, {words.usd(offer.hourly_usd)}/h"
    )


def _figures(one: Outlook) -> tuple[str, str, str, str]:
    return (
        f"{one.pods:,}",
        f"{one.likely_pod_hours:,.1f}–{one.sure_pod_hours:,.1f}",
        f"{_hours(one, one.likely_at)}–{_hours(one, one.sure_at)}",
        f"{words.usd(one.likely_usd)}–{words.usd(one.sure_usd)}",
    )


def _hours(one: Outlook, at: datetime | None) -> str:
    return NEVER if at is None else f"{(at - one.at) / HOUR:,.1f}"
