"""Runs the subcommands of `fleet` that say what would be: the next tick, and the market."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from datetime import timedelta
from typing import IO, cast

from django.core.management.base import CommandError, OutputWrapper
from rich.table import Table

from fleet.decision.field_words import rule_words
from fleet.management.quotes import add_quote_arguments
from fleet.management.shadows import add_shadow_arguments
from fleet.management.what_if import add_what_if_arguments
from fleet.models import Fleet
from fleet.pages import market as markets
from fleet.pages import offers, words
from fleet.pages.market import AccountMarket, Lives, OfferType
from fleet.tick import ticking
from pods.base.commands import AddVerb, CommandConsole
from pods.catalogue.nearest import UnknownName
from pods.models import Account


def add_foresight(verb: AddVerb) -> None:
    """Add the subcommands that say what would be."""
    verb("next", "Show what the next tick would do; change nothing.")
    add_what_if_arguments(verb("what-if", "Show what a time would have been with other settings."))
    text = "Run other settings beside the live ones: decide with them, and act on none."
    add_shadow_arguments(verb("shadow", text))
    text = "Say what a number of items would take and cost, before anything is rented."
    add_quote_arguments(verb("quote", text))
    text = "Show what could be rented when and at which price, and what pods did there."
    _add_market_arguments(verb("market", text, named=False))


def _add_market_arguments(parser: ArgumentParser) -> None:
    text = f"The last days (default: {markets.DAYS}, at most {markets.MOST_DAYS})."
    parser.add_argument("--days", type=int, default=markets.DAYS, help=text)
    parser.add_argument("--account", default="", metavar="NAME", help="Show only this account.")
    parser.add_argument(
        "--gpu", action="append", default=[], help="Show only this GPU type; may be repeated."
    )


def next_tick(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Print what the next tick would do."""
    decision = ticking.preview(fleet)
    if options.json:
        steps = [
            {"rule": s.rule, "before": s.before, "after": s.after, "because": s.because}
            for s in decision.steps
        ]
        spawn, retire = len(decision.spawn), [r.pod_id for r in decision.retire]
        answer = {"sentence": decision.sentence, "spawn": spawn, "retire": retire}
        stdout.write(json.dumps({**answer, "steps": steps}))
        return
    stdout.write(decision.sentence)
    for step in decision.steps:
        stdout.write(f"  {step.before} → {step.after}  {rule_words(step.rule)}: {step.because}")


def market(options: Namespace, stdout: OutputWrapper) -> None:
    """Print the observed market.

    Raises:
        CommandError: an option is wrong.
    """
    if not 1 <= options.days <= markets.MOST_DAYS:
        raise CommandError(f"--days must be 1 to {markets.MOST_DAYS}", returncode=2)
    if options.account and not Account.objects.filter(name=options.account).exists():
        raise CommandError(f"no account is called {options.account}; see `account list`")
    try:
        asked = [offers.gpu_called(name) for name in options.gpu]
    except UnknownName as exc:
        raise CommandError(f"--gpu: {exc}", returncode=2) from exc
    found = markets.market(days=options.days, account=options.account, asked=asked)
    lives = markets.lives()
    if options.json:
        answer = {**found.as_json(), "pods": [each.as_json() for each in lives]}
        stdout.write(json.dumps(answer))
        return
    console = CommandConsole(file=cast(IO[str], stdout))
    for account in found.accounts:
        _print_account(console, account)
    if not found.accounts:
        stdout.write("no account, so nothing is rented; add one with `account add`")
    if lives:
        console.print(_lives_table(lives))


def _print_account(console: CommandConsole, account: AccountMarket) -> None:
    if not account.types:
        why = "nothing of it was offered" if account.read else "its offers were not read yet"
        console.print(f"{account.name}: {why}", markup=False)
        return
    read = words.duration(sum((b - a for a, b in account.read), timedelta(0)))
    console.print(f"{account.name}, read for {read} of this time", markup=False, style="bold")
    if account.partial:
        console.print(f"not all offers were read: {account.partial}", markup=False)
    console.print(_types_table(account.types))


def _types_table(types: Sequence[OfferType]) -> Table:
    table = Table(box=None)
    for column in ("GPU", "region", "", "$/h now", "lowest", "highest", "there", "times"):
        table.add_column(column)
    for each in types:
        table.add_row(
            f"{each.gpus}× {each.gpu}" if each.gpu else "no GPU",
            each.region,
            "interruptible" if each.interruptible else "",
            words.NONE if each.hourly_usd is None else words.usd(each.hourly_usd),
            words.usd(each.lowest_usd),
            words.usd(each.highest_usd),
            words.percent(each.percent),
            f"{len(each.spells):,}",
        )
    return table


def _lives_table(lives: Sequence[Lives]) -> Table:
    table = Table(box=None, title="What pods did, last 30 days", title_justify="left")
    for column in ("GPU", "", "pods", "boot", "longest", "lost/100 h", "items/s"):
        table.add_column(column)
    for each in lives:
        lost = each.lost_in_100_hours
        speeds = ", ".join(f"{name} {rate:,.1f}" for name, rate in each.speeds.items())
        table.add_row(
            f"{each.gpus}× {each.gpu}" if each.gpu else "no GPU",
            "interruptible" if each.interruptible else "",
            f"{each.pods:,}",
            words.duration(each.boot),
            words.duration(each.longest_boot),
            words.NONE if lost is None else f"{lost:.1f}",
            speeds or words.NONE,
        )
    return table
