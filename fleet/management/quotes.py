"""Runs `fleet quote`: what a number of items would take and cost."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import IO, Final, cast

from django.core.management.base import CommandError, OutputWrapper
from pydantic import AwareDatetime, BaseModel, ValidationError
from rich.table import Table

from fleet import quoting
from fleet.decision.outlook import NoOutlook, Outlook
from fleet.decision.quote import Asked, Line, Quote
from fleet.management import amounts
from fleet.management.samples import add_sample_arguments, sampled
from fleet.management.what_if import moment
from fleet.models import Fleet
from fleet.money import receipts
from fleet.pages import words
from fleet.quoting import BadQuote
from fleet.tick import gathering
from pods.base.clock import utcnow
from pods.base.commands import CommandConsole
from pods.plural import plural

NAME_WIDTH: Final = 22  # where a terminal has 80 columns
HOUR: Final = timedelta(hours=1)
NEVER: Final = "?"  # later than the replays go
MORE: Final = ">"


def add_quote_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `fleet quote`."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--items", type=amounts.items, help="How many items (default: its backlog).")
    which.add_argument(
        "--receipt",
        type=Path,
        metavar="FILE",
        help="Compare a quote that `--json` wrote into this file with what pods did and cost since.",
    )
    parser.add_argument(
        "--by", type=moment, help="Done by then, with its zone, such as 2026-12-04T18:00+01:00."
    )
    parser.add_argument(
        "--at-most", type=amounts.usd, metavar="USD", help="The money that may be spent."
    )
    parser.add_argument(
        "--items-per-second",
        type=float,
        metavar="RATE",
        help="Of one pod; without it, what the fleet's pods showed.",
    )
    add_sample_arguments(parser)


def quote(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Print the quote.

    Raises:
        CommandError: a value is wrong, or nothing can be said.
    """
    if options.receipt is not None:
        if options.sample is not None:
            raise CommandError("give --sample or --receipt, not both", returncode=2)
        _receipt(fleet, options, stdout)
        return
    console = CommandConsole(file=cast(IO[str], stdout))
    say = _quiet if options.json else _sayer(console)
    try:
        asked = _asked(fleet, options)
        quoting.check(asked)
        sample = sampled(fleet, options, say)
        found = quoting.quote_of(fleet, asked)
    except BadQuote as exc:
        raise CommandError(str(exc), returncode=2) from exc
    except NoOutlook as exc:
        raise CommandError(
            f"{fleet.name}: {exc}; give --items-per-second of one pod, or let one pod measure it "
            "with --sample 1000"
        ) from exc
    if options.json:
        more = {} if sample is None else {"sample": sample}
        stdout.write(json.dumps({**quoting.as_json(found), **more}))
        return
    console.print(_table(found))
    for line in (*_promises(found), *quoting.assumptions(found)):
        console.print(line, markup=False, highlight=False)


def _asked(fleet: Fleet, options: Namespace) -> Asked:
    items = options.items
    if items is None:
        depth, because = gathering.measure(fleet)
        if depth is None or not depth.items:
            why = f"unknown ({because})" if depth is None else "empty"
            raise BadQuote(f"the backlog of {fleet.name} is {why}; say how many: --items N")
        items = depth.items
    return Asked(
        items=items, by=options.by, at_most_usd=options.at_most,
        items_per_second=options.items_per_second,
    )  # fmt: skip


def _quiet(_text: str) -> None:
    """Nothing is printed beside JSON."""


def _sayer(console: CommandConsole) -> Callable[[str], object]:
    return lambda text: console.print(text, markup=False, highlight=False, soft_wrap=True)


def _promises(found: Quote) -> list[str]:
    said = []
    if found.plan.on_time is not None and found.asked.by is not None:
        said.append(
            f"It is done by {found.asked.by:%F %H:%M %Z} in {100 * found.plan.on_time:.0f} % of the "
            "replays."
        )
    if found.least_usd is not None and found.asked.at_most_usd is not None:
        said.append(
            f"{words.usd(found.asked.at_most_usd)} is too little to start a pod; the least is about "
            f"{words.usd(found.least_usd)}."
        )
    elif found.plan.money_ends:
        said.append(
            f"In {100 * found.plan.money_ends:.0f} % of the replays the money ends first; about "
            f"{_are_left(found.plan)} then."
        )
    elif found.plan.likely_at is None:
        days = words.duration(found.plan.until - found.plan.at)
        said.append(
            f"It is probably not done within the {days} that the replays see; about "
            f"{_are_left(found.plan)} then."
        )
    if any(one.likely_at is None for one in (found.plan, *(line.expected for line in found.lines))):
        said.append(f"“{MORE}”: not all items are done, and that is what a part of them takes.")
    return [*said, f"{found.risk}."] if found.risk else said


def _are_left(one: Outlook) -> str:
    return f"{plural(one.left, 'item')} {'is' if one.left == 1 else 'are'} left"


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
        _between(one, f"{one.likely_pod_hours:,.1f}", f"{one.sure_pod_hours:,.1f}"),
        f"{_hours(one, one.likely_at)}–{_hours(one, one.sure_at)}",
        _between(one, words.usd(one.likely_usd), words.usd(one.sure_usd)),
    )


def _between(one: Outlook, likely: str, sure: str) -> str:
    """What is likely and what is sure; more than that, if a part of the items takes it."""
    if one.likely_at is None:
        return f"{MORE} {likely}"
    return f"{likely}–{NEVER if one.sure_at is None else sure}"


def _hours(one: Outlook, at: datetime | None) -> str:
    return NEVER if at is None else f"{(at - one.at) / HOUR:,.1f}"


class _Kept(BaseModel):
    """What a receipt reads of a quote in a file."""

    class Plan(BaseModel):
        likely_seconds: float | None
        sure_seconds: float | None
        likely_pod_hours: float | None
        sure_pod_hours: float | None
        likely_usd: Decimal | None
        sure_usd: Decimal | None

    at: AwareDatetime
    items: int
    plan: Plan


def _receipt(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Print what was quoted beside what was.

    Raises:
        CommandError: the file is not a quote.
    """
    try:
        kept = _Kept.model_validate_json(options.receipt.read_bytes())
    except ValidationError as exc:
        text = f"{options.receipt}: not a quote; write one with `fleet quote NAME --items N --json`"
        raise CommandError(text) from exc
    now = utcnow()
    was = receipts.receipt(fleet, kept.at, now)
    took = None if was.done_at is None else (was.done_at - kept.at).total_seconds()
    if options.json:
        answer = {
            "quote": kept.model_dump(mode="json"), "items": was.items, "pods": was.pods,
            "pod_hours": round(was.pod_hours, 2), "spent_usd": f"{was.spent_usd:.4f}",
            "done_seconds": took,
        }  # fmt: skip
        stdout.write(json.dumps(answer))
        return
    plan = kept.plan
    table = Table(box=None, title=f"Quoted {kept.at:%F %H:%M} UTC", title_justify="left")
    for column in ("", "likely", "at most", "was"):
        table.add_column(column, no_wrap=True)
    table.add_row("items", f"{kept.items:,}", "", f"{was.items:,}")
    hours = (plan.likely_seconds, plan.sure_seconds, took)
    table.add_row("hours", *(NEVER if s is None else f"{s / 3600:,.1f}" for s in hours))
    pod_hours = (plan.likely_pod_hours, plan.sure_pod_hours, was.pod_hours)
    table.add_row("pod-hours", *(NEVER if h is None else f"{h:,.1f}" for h in pod_hours))
    table.add_row("cost", *map(words.usd, (plan.likely_usd, plan.sure_usd, was.spent_usd)))
    CommandConsole(file=cast(IO[str], stdout)).print(table)
    if was.done_at is None:
        stdout.write("its backlog has not been empty since the quote")
