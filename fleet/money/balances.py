"""Reads the balances that vendors report, and compares them with our ledger."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from itertools import pairwise

import structlog
from django.db.models import Sum

from fleet.models import Balance
from pods.accounts import connecting
from pods.accounts.connecting import CannotConnect, Connect
from pods.base.clock import utcnow
from pods.models import MICROS, Account, PriceSegment
from pods.price import cost_micros
from pods.providers.errors import ProviderError

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The spending of an account over a period in USD, by the vendor and by our ledger."""

    since: datetime
    until: datetime
    vendor_usd: Decimal  # by how much the balance fell
    booked_usd: Decimal  # the ledger's sum for the same time
    left_out: int  # intervals in which the balance rose: somebody paid in

    @property
    def difference_usd(self) -> Decimal:
        """What the vendor charged and the ledger does not have; below 0: the ledger has too much."""
        return self.vendor_usd - self.booked_usd


def read_balance(account: Account, *, connect: Connect = connecting.connect) -> Balance | None:
    """Ask the vendor for the balance, and store it; None if it has none or gives none.

    An error here does not count as a failure of the account: renting may still work.
    """
    try:
        provider = connect(account)
        usd = provider.balance() if provider.capabilities.has_balance else None
    except (ProviderError, CannotConnect) as exc:
        log.warning("balance_unknown", account=account.pk, because=str(exc))
        return None
    if usd is None:
        return None
    now = utcnow()
    return Balance.objects.create(
        account=account, at=now, usd=usd, booked_micros=booked_micros(account, now)
    )


def booked_micros(account: Account, now: datetime) -> int:
    """The whole cost of the account's pods until now, in 1/1,000,000 USD. Two queries."""
    segments = PriceSegment.objects.filter(pod__account=account)
    closed = segments.filter(until__isnull=False).aggregate(n=Sum("cost_micros"))["n"] or 0
    running = segments.filter(until__isnull=True).values_list("hourly_usd", "since")
    return int(closed) + sum(cost_micros(hourly, now - since) for hourly, since in running)


def compare(account: Account, *, since: datetime) -> Compared | None:
    """Compare the vendor's sum with ours; None with fewer than two readings."""
    return _compared(
        list(Balance.objects.filter(account=account, at__gte=since).order_by("at", "pk"))
    )


def compare_all(*, since: datetime) -> Mapping[str, Compared]:
    """As `compare`, by the name of each account that has two readings. One query."""
    rows = Balance.objects.filter(at__gte=since).select_related("account")
    readings: dict[str, list[Balance]] = {}
    for row in rows.order_by("account__name", "at", "pk"):
        readings.setdefault(row.account.name, []).append(row)
    compared = {name: _compared(rows) for name, rows in readings.items()}
    return {name: found for name, found in compared.items() if found is not None}


def _compared(readings: Sequence[Balance]) -> Compared | None:
    if len(readings) < 2:
        return None
    pairs = list(pairwise(readings))
    spent = [(a, b) for a, b in pairs if b.usd <= a.usd]
    return Compared(
        since=readings[0].at,
        until=readings[-1].at,
        vendor_usd=sum((a.usd - b.usd for a, b in spent), Decimal(0)),
        booked_usd=Decimal(sum(b.booked_micros - a.booked_micros for a, b in spent)) / MICROS,
        left_out=len(pairs) - len(spent),
    )
