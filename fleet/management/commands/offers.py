"""`manage.py offers`: shows the offers, and the cost of a million items on each."""

import json
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import IO, Any, cast

from django.core.management.base import CommandError
from rich.table import Table

from fleet.decision.placement import Experience
from fleet.decision.values import Wanted
from fleet.management.fleet_names import fleet_named
from fleet.models import Fleet
from fleet.pages import offers
from fleet.tick import market, wishes
from pods.accounts import surveying
from pods.base.clock import utcnow
from pods.base.commands import CommandConsole, OwnCommand
from pods.base.words import NONE, usd
from pods.catalogue import gpus
from pods.catalogue.nearest import UnknownName
from pods.models import Account
from pods.providers.base import OfferQuery


class Command(OwnCommand):
    """Show a table of offers, the cheapest per item first."""

    help = "Show the offers that can be rented now, and the cost of a million items on each."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the options that choose the offers."""
        parser.add_argument(
            "--fleet", metavar="NAME", help="Show the offers as this fleet would rent them."
        )
        parser.add_argument(
            "--gpu", action="append", default=[], help="Show only this GPU type; may be repeated."
        )
        parser.add_argument(
            "--fresh", action="store_true", help="Ask the accounts for their offers now."
        )
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Print the offers."""
        fleet = None if options["fleet"] is None else fleet_named(options["fleet"])
        accounts = offers.accounts_of(fleet)
        try:
            wanted, known = offers.as_asked(fleet)
        except ValueError as exc:
            raise CommandError(str(exc)) from exc
        if options["fresh"]:
            _survey(accounts, fleet, wanted, options["gpu"])
        asked = [_gpu(name) for name in options["gpu"]]
        names = {a.pk for a in accounts}
        rows = offers.rows(fleet, accounts, wanted, known, asked)
        if options["json"]:
            self.stdout.write(json.dumps(rows))
            return
        if rows:
            CommandConsole(file=cast(IO[str], self.stdout)).print(_table(rows))
        else:
            self.stdout.write(_why_none(fleet, known, asked, fresh=options["fresh"]))
        for account in Account.objects.filter(pk__in=names).order_by("pk"):
            if account.survey_partial and fleet is None:
                self.stdout.write(f"{account}: not all offers were read: {account.survey_partial}")


def _survey(
    accounts: Iterable[Account], fleet: Fleet | None, wanted: Wanted, named: Sequence[str]
) -> None:
    """Ask the accounts, also for just what the command shows: a market is never read whole."""
    wish = wishes.query_of(wanted)
    if fleet is None:
        wish = OfferQuery(gpu_types=tuple(map(gpus.read_wish, named)))
    for account in accounts:
        surveying.add_wish(account, wish)
        surveying.survey_account(account)


def _why_none(fleet: Fleet | None, known: Experience, asked: Sequence[str], *, fresh: bool) -> str:
    """Why the list is empty, and what to do next."""
    because = "" if fleet is None else market.offers_for(fleet, utcnow(), known).because
    said = "no offers" + (f" of {' or '.join(asked)}" if asked else "")
    ask = "" if fresh else "`offers --fresh` asks the accounts now, "
    return f"{said}{because and f': {because}'}; {ask}`account list` shows the accounts"


def _gpu(name: str) -> str:
    try:
        return offers.gpu_called(name)
    except UnknownName as exc:
        raise CommandError(f"--gpu: {exc}", returncode=2) from exc


def _table(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(box=None)
    for column in ("account", "GPU", "region", "", "$/h", "items/s", "$ per million items", ""):
        table.add_column(column)
    for row in rows:
        speed = row["items_per_second"]
        shown = NONE if speed is None else f"{speed:.1f}" if row["measured"] else f"({speed:.1f})"
        table.add_row(
            row["account"],
            f"{row['gpus']}× {row['gpu']}" if row["gpu"] else row["offer"],
            row["region"],
            "interruptible" if row["interruptible"] else "",
            usd(Decimal(row["hourly_usd"])),
            shown,
            NONE if row["million_items_usd"] is None else usd(Decimal(row["million_items_usd"])),
            row["left_alone_because"],
        )
    return table
