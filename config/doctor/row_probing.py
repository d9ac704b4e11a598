"""Looks at the rows: beat, decisions, stored secrets, accounts, and fleets that rent elsewhere."""

import ipaddress
import socket
from collections.abc import Iterable, Iterator
from urllib.parse import parse_qs, urlsplit

from django.conf import settings

from config.doctor.facts import AccountFacts, Reach, RentingFleet, RowFacts
from config.health import undecided_fleets
from fleet.models import Fleet
from fleet.pages.last_runs import beat_last_sent
from fleet.resealing import lost_secrets
from pods.accounts import breaker, connecting, editing
from pods.base.shared_clock import shared_now
from pods.masking import without_passwords
from pods.models import Account
from pods.providers import registry


def rows(*, online: bool) -> RowFacts:
    """All facts that rows have. `online`: each account's key is tried with a real call too."""
    now = shared_now()
    accounts = Account.objects.filter(enabled=True).order_by("name")
    return RowFacts(
        now=now,
        beat_last_sent=beat_last_sent(),
        undecided=undecided_fleets(now),
        lost_secrets=lost_secrets(),
        accounts=[account_facts(account, online=online) for account in accounts],
        renting=list(renting_fleets()),
    )


def account_facts(account: Account, *, online: bool) -> AccountFacts:
    """Whether its key can be read, whether it is left alone, and what the vendor says."""
    problem, refused = "", ""
    try:
        connecting.secret_of(account)
    except connecting.BadSecret as exc:
        problem = str(exc)
    if online and not problem:
        tried = editing.try_account(account)
        refused = "" if tried.good else tried.says
    return AccountFacts(
        name=account.name,
        key_problem=problem,
        refused=refused,
        unused_because=breaker.why_unused(account, now=shared_now()),
    )


def renting_fleets() -> Iterator[RentingFleet]:
    """The fleets whose accounts rent machines elsewhere, with their Redis."""
    reaches: dict[str, Reach | None] = {}
    fleets = Fleet.objects.filter(archived_at=None).prefetch_related("accounts").order_by("name")
    for fleet in fleets:
        if not any(rents_elsewhere(account) for account in fleet.accounts.all() if account.enabled):
            continue
        address = fleet.backlog_url or settings.REDIS_URL
        parts = urlsplit(address)
        host = parts.hostname or ""
        if host not in reaches:
            reaches[host] = reach_of(resolved(host)) if host else Reach.THIS_MACHINE
        yield RentingFleet(
            name=fleet.name,
            redis=without_passwords(f"{parts.scheme}://{parts.netloc}"),
            reach=reaches[host],
            encrypted=parts.scheme == "rediss",
            verified=is_verified(address),
        )


def rents_elsewhere(account: Account) -> bool:
    """Whether its pods run at a vendor. A price of one's own is an option of one's own machines."""
    try:
        options = registry.option_fields_of(account.provider) or ()
    except ValueError:
        return False  # the account's own page says what is wrong
    return all(option.name != editing.PRICE for option in options)


def is_verified(address: str) -> bool:
    """Whether a TLS address requires a good certificate; an address without TLS has none to check."""
    parts = urlsplit(address)
    wanted = parse_qs(parts.query).get("ssl_cert_reqs", ["required"])[-1]
    return parts.scheme != "rediss" or wanted.lower().removeprefix("cert_") == "required"


def resolved(host: str) -> list[str]:
    """The IP addresses of a host; none if the DNS does not know it."""
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [str(entry[4][0]) for entry in found]


def reach_of(addresses: Iterable[str]) -> Reach | None:
    """How far the farthest of these addresses reaches; None: there is none."""
    reaches = {_reach(ipaddress.ip_address(address.partition("%")[0])) for address in addresses}
    return next((reach for reach in Reach if reach in reaches), None)


def _reach(address: "ipaddress.IPv4Address | ipaddress.IPv6Address") -> Reach:
    if address.is_loopback or address.is_unspecified:
        return Reach.THIS_MACHINE
    return Reach.PUBLIC if address.is_global else Reach.PRIVATE
