"""`manage.py offers`: shows the offers, and the cost of a million items on each."""

import json
from argparse import ArgumentParser
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import IO, Any, cast

from django.core.management.base import CommandError
from rich.table import Table

from fleet.decision import placement
from fleet.decision.placement import NOTHING_KNOWN, Experience, Weighed
from fleet.decision.values import Wanted
from fleet.management.fleet_names import fleet_named
from fleet.models import Fleet
from fleet.tick import market, wishes
from pods.accounts import surveying
from pods.base.clock import utcnow
from pods.base.commands import CommandConsole, OwnCommand
from pods.base.words import NONE, usd
from pods.catalogue import gpus
from pods.catalogue.nearest import UnknownName
from pods.models import Account, Pod
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
        accounts = list(
            (Account.objects.all() if fleet is None else fleet.accounts.all())
            .filter(enabled=True)
            .order_by("pk")
        )
        wanted, known = _as_asked(fleet)
        if options["fresh"]:
            _survey(accounts, fleet, wanted, options["gpu"])
        disk_gb = OfferQuery().disk_gb if fleet is None else fleet.disk_gb
        seen = market.offers_of(accounts, disk_gb=disk_gb, wish=wanted if fleet else None)
        asked = [_gpu(name) for name in options["gpu"]]
        names = {a.pk: a.name for a in accounts}
        rows = [
            _row(place, known, names)
            for place in placement.weigh(seen, wanted, known)
            if not asked
            or any(gpus.means(wish, place.offer.gpu_type, place.offer.vram_gb) for wish in asked)
        ]
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
        return gpus.wished(name, seen=surveying.names_seen("gpu_type"))
    except UnknownName as exc:
        raise CommandError(f"--gpu: {exc}", returncode=2) from exc


def _as_asked(fleet: Fleet | None) -> tuple[Wanted, Experience]:
    if fleet is None:
        return Wanted(), NOTHING_KNOWN
    pods = list(Pod.objects.filter(fleet=fleet).billable())
    try:
        wish = wishes.wanted(fleet)
    except ValueError as exc:
        raise CommandError(f"{fleet.name}: offer_query: {exc}") from exc
    return wish, market.experience(fleet, utcnow(), pods)


def _row(place: Weighed, known: Experience, names: Mapping[int, str]) -> dict[str, Any]:
    offer = place.offer
    speed = known.speed(placement.kind_of(offer))
    cost = offer.million_items_usd
    return {
        "account": names[offer.account_id],
        "offer": offer.key,
        "gpu": offer.gpu_type,
        "gpus": offer.gpu_count,
        "vram_gb": offer.vram_gb,
        "region": offer.region,
        "host": offer.host,
        "interruptible": offer.interruptible,
        "hourly_usd": str(offer.hourly_usd),
        "items_per_second": None if speed is None else round(speed, 2),
        "measured": place.measured,
        "million_items_usd": None if cost is None else f"{cost:.2f}",
        "left_alone_because": place.refused,
    }


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
