"""The spending, as the page Money and its downloads show it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from typing import Any, Final

from fleet.models import Fleet
from fleet.money import balances, ledger
from fleet.money.balances import Compared
from fleet.money.ledger import DayCost, Forecast, Price
from pods.base.clock import utcnow
from pods.base.csv import csv_lines
from pods.models import Account

MOST_DAYS: Final = 92


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """The spending of several days; the last one is today."""

    first: date
    last: date
    costs: Sequence[DayCost]
    forecasts: Mapping[str, Forecast]  # of today, by fleet
    prices: Mapping[str, Price]  # over their whole life, by fleet
    compared: Mapping[str, Compared]  # the vendor's balance and our ledger, by account

    @property
    def days(self) -> int:
        """How many days."""
        return (self.last - self.first).days + 1

    @property
    def total_usd(self) -> Decimal:
        """The spending of all days together."""
        return sum((cost.usd for cost in self.costs), Decimal(0))

    @property
    def totals(self) -> Sequence[tuple[str, Mapping[str, Decimal]]]:
        """USD by fleet, provider and GPU, the dearest first; by day, the newest first."""
        by_day = ledger.totals(self.costs, lambda cost: cost.day.isoformat())
        return [
            ("fleet", ledger.totals(self.costs, lambda cost: cost.fleet)),
            ("provider", ledger.totals(self.costs, lambda cost: cost.provider)),
            ("GPU", ledger.totals(self.costs, lambda cost: cost.gpu_type or "no GPU")),
            ("day (UTC)", dict(sorted(by_day.items(), reverse=True))),
        ]

    def as_json(self) -> dict[str, Any]:
        """The spending as JSON values: money as text."""
        return {
            "first": self.first.isoformat(),
            "last": self.last.isoformat(),
            "total_usd": str(self.total_usd),
            "entries": [
                {
                    "day": e.day.isoformat(),
                    "fleet": e.fleet,
                    "provider": e.provider,
                    "gpu_type": e.gpu_type,
                    "usd": str(e.usd),
                }
                for e in self.costs
            ],
        }

    def as_csv(self) -> Iterator[str]:
        """A line for each day, fleet, provider and GPU type."""
        rows = ((e.day, e.fleet, e.provider, e.gpu_type, e.usd) for e in self.costs)
        return csv_lines(["day", "fleet", "provider", "gpu_type", "usd"], rows)


def spending(days: int) -> Spending:
    """The spending of the last `days` days, including today."""
    now = utcnow()
    last = now.date()
    first = last - timedelta(days=days - 1)
    names = dict(Fleet.objects.values_list("pk", "name"))
    compared = {
        account.name: found
        for account in Account.objects.order_by("name")
        if (found := balances.compare(account, since=now - timedelta(days=days))) is not None
    }
    return Spending(
        first=first,
        last=last,
        costs=ledger.day_costs(first, last),
        forecasts={names[pk]: f for pk, f in ledger.forecast(now).items() if pk in names},
        prices=ledger.prices("fleet__name"),
        compared=compared,
    )
