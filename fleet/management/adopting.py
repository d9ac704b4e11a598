"""`fleet adopt`: shows the machines of a lost database, or makes rows for them."""

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, Sequence
from decimal import Decimal

from django.core.management.base import CommandError, OutputWrapper

from fleet import adopting, operating
from fleet.adopting import Found
from fleet.models import Fleet
from fleet.pages.words import usd
from pods.accounts.connecting import CannotConnect
from pods.models import Account
from pods.plural import plural
from pods.providers.errors import ProviderError


def add_adopt_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `fleet adopt`."""
    parser.add_argument(
        "pairs",
        metavar="NAME=ID",
        nargs="*",
        help="NAME: a fleet here; it takes the machines of the lost fleet that had this ID.",
    )
    parser.add_argument(
        "--installation",
        metavar="SLUG",
        help="The installation of the machines: the word after pf- in their names.",
    )
    parser.add_argument(
        "--yes",
        action="store_true",
        help="Write the rows (needs --installation); without it, only show the machines.",
    )


def adopt(options: Namespace, stdout: OutputWrapper) -> None:
    """Show the machines of lost installations; with --yes, give them rows."""
    accounts = list(Account.objects.filter(enabled=True).order_by("name"))
    try:
        found = adopting.found_machines(accounts)
        if not (options.yes and options.installation):
            _show(found, options, stdout)
            return
        pods = adopting.adopt(found, options.installation, _fleets(options.pairs))
    except (ProviderError, CannotConnect, ValueError) as exc:
        raise CommandError(f"nothing was changed: {exc}") from exc
    names = [pod.name for pod in pods]
    stdout.write(
        json.dumps({"adopted": names}) if options.json else f"{plural(len(names), 'pod')} adopted"
    )


def _fleets(pairs: Sequence[str]) -> Mapping[int, Fleet]:
    fleets = {}
    for pair in pairs:
        name, _, number = pair.partition("=")
        if not number.isdigit():
            raise CommandError(f"{pair!r}: give NAME=ID, such as emb=1", returncode=2)
        fleet = Fleet.objects.filter(name=name).first()
        if fleet is None:
            raise CommandError(f"no fleet {name!r} here; create it first, with its former stream")
        operating.refuse_archived(fleet)
        fleets[int(number)] = fleet
    return fleets


def _show(found: Sequence[Found], options: Namespace, stdout: OutputWrapper) -> None:
    if options.installation:
        found = [f for f in found if f.slug == options.installation]
    if options.json:
        stdout.write(json.dumps({"machines": [f.as_json() for f in found]}))
        return
    if not found:
        stdout.write("no machine of any installation on the enabled accounts")
    for (slug, fleet_id), machines in adopting.by_fleet(found).items():
        hourly = sum((f.hourly_usd for f in machines), Decimal(0))
        new = sum(not f.known for f in machines)
        stdout.write(
            f"installation {slug}, fleet {fleet_id}: "
            f"{plural(len(machines), 'machine')} at {usd(hourly)}/h, "
            f"{new} without a row here"
        )
    if found:
        stdout.write("to give them rows: fleet adopt --installation SLUG NAME=ID … --yes")
