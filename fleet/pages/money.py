"""The spending, as the page Money and its downloads show it."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, Final

from fleet.models import Fleet, Limits
from fleet.money import balances, ledger
from fleet.money import corrections as corrected
from fleet.money.balances import Compared
from fleet.money.corrections import Corrected
from fleet.money.ledger import DayCost, Forecast, Price
from pods.base.clock import utcnow
from pods.base.csv import csv_lines

MOST_DAYS: Final = 92
MOST_CORRECTIONS: Final = 20  # on the page
CHOICES: Final = ((1, "Today"), (7, "7 days"), (30, "30 days"), (MOST_DAYS, "92 days"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Day:
    """The bar of one day, in parts of 1000 of the longest bar."""

    day: date
    usd: Decimal
    width: int
    expected_usd: Decimal | None = None  # only of today: what it will have cost at midnight UTC
    expected_width: int = 0
    corrected_usd: Decimal = Decimal(0)  # by how much its sum was changed afterwards


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetCosts:
    """What one fleet cost."""

    name: str
    pk: int | None  # None: it was renamed meanwhile
    usd: Decimal  # in all days that are shown
    today: Forecast
    price: Price | None

    @property
    def nothing(self) -> bool:
        """Whether it cost nothing in these days and costs nothing now."""
        return not self.usd and not self.today.hourly_usd


UNKNOWN: Final = "unknown user"
NOT_TAGGED: Final = "not tagged"
NO_FORECAST: Final = Forecast(spent_usd=Decimal(0), hourly_usd=Decimal(0), expected_usd=Decimal(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending:
    """The spending of several days; the last one is today."""

    first: date
    last: date
    costs: Sequence[DayCost]
    forecasts: Mapping[str, Forecast]  # of today, by fleet
    prices: Mapping[str, Price]  # over their whole life, by fleet
    compared: Mapping[str, Compared]  # the vendor's balance and our ledger, by account
    pks: Mapping[str, int]  # of the fleets, by name
    budget_usd: Decimal | None  # of a day: the fleet's, or the installation's
    fleet: Fleet | None = None  # None: all fleets
    corrections: Sequence[Corrected] = ()  # why sums of these days changed, the newest first
    users: Mapping[str, str] = field(default_factory=dict)  # who made each fleet, by its name
    tags: Mapping[str, Mapping[str, str]] = field(default_factory=dict)  # by the fleet's name

    @property
    def days(self) -> int:
        """How many days."""
        return (self.last - self.first).days + 1

    @property
    def total_usd(self) -> Decimal:
        """The spending of all days together."""
        return sum((cost.usd for cost in self.costs), Decimal(0))

    @property
    def today(self) -> Forecast:
        """What today has cost, costs an hour now, and will have cost at midnight UTC."""
        found = list(self.forecasts.values())
        return Forecast(
            spent_usd=sum((f.spent_usd for f in found), Decimal(0)),
            hourly_usd=sum((f.hourly_usd for f in found), Decimal(0)),
            expected_usd=sum((f.expected_usd for f in found), Decimal(0)),
        )

    @property
    def over_usd(self) -> Decimal | None:
        """By how much today will pass the budget; None: it will not."""
        over = None if self.budget_usd is None else self.today.expected_usd - self.budget_usd
        return over if over is not None and over > 0 else None

    @property
    def bars(self) -> Sequence[Day]:
        """A bar for each day, the newest first; that of today has what is still expected."""
        by_day = ledger.totals(self.costs, lambda cost: cost.day.isoformat())
        days = [self.last - timedelta(days=n) for n in range(self.days)]
        sums = {day: by_day.get(day.isoformat(), Decimal(0)) for day in days}
        expected = max(self.today.expected_usd, sums[self.last])
        longest = max(*sums.values(), expected, Decimal("0.01"))
        changed = corrected.by_days(self.corrections)
        return [
            Day(
                day=day,
                usd=usd,
                width=int(1000 * usd / longest),
                expected_usd=expected if day == self.last else None,
                expected_width=int(1000 * expected / longest) if day == self.last else 0,
                corrected_usd=changed.get(day, Decimal(0)),
            )
            for day, usd in sums.items()
        ]

    @property
    def fleets(self) -> Sequence[FleetCosts]:
        """The costs by fleet, the dearest first."""
        by_fleet = ledger.totals(self.costs, lambda cost: cost.fleet)
        names = {**by_fleet, **dict.fromkeys([*self.forecasts, *self.prices])}
        rows = [
            FleetCosts(
                name=name,
                pk=self.pks.get(name),
                usd=by_fleet.get(name, Decimal(0)),
                today=self.forecasts.get(name, NO_FORECAST),
                price=self.prices.get(name),
            )
            for name in names
        ]
        return sorted(rows, key=lambda row: (-row.usd, -row.today.hourly_usd, row.name))

    @property
    def dear(self) -> Sequence[FleetCosts]:
        """The fleets that cost something."""
        return [row for row in self.fleets if not row.nothing]

    @property
    def shown(self) -> Sequence[FleetCosts]:
        """The rows of the table: what cost something; the one fleet that is asked for in any case."""
        return self.dear if self.fleet is None else self.fleets

    @property
    def free(self) -> Sequence[FleetCosts]:
        """The fleets that cost nothing in these days."""
        return [row for row in self.fleets if row.nothing]

    @property
    def totals(self) -> Sequence[tuple[str, Mapping[str, Decimal]]]:
        """USD by provider and GPU, the dearest first; what cost nothing is left out."""
        sums = [
            ("provider", ledger.totals(self.costs, lambda cost: cost.provider)),
            ("GPU", ledger.totals(self.costs, lambda cost: cost.gpu_type or "no GPU")),
            ("user", self.by_user),
            *((f"tag {key}", by) for key, by in self.by_tag.items()),
        ]
        return [(what, {name: usd for name, usd in by.items() if usd}) for what, by in sums]

    @property
    def corrected_usd(self) -> Decimal:
        """By how much the sums of these days were changed afterwards."""
        return sum((one.usd for one in self.corrections), Decimal(0))

    @property
    def newest_corrections(self) -> Sequence[Corrected]:
        """Those that the page shows."""
        return self.corrections[:MOST_CORRECTIONS]

    @property
    def more_corrections(self) -> int:
        """How many more there are."""
        return max(0, len(self.corrections) - MOST_CORRECTIONS)

    @property
    def by_user(self) -> Mapping[str, Decimal]:
        """USD by who made the fleet, the largest sum first."""
        return ledger.totals(self.costs, lambda cost: self.users.get(cost.fleet) or UNKNOWN)

    @property
    def by_tag(self) -> Mapping[str, Mapping[str, Decimal]]:
        """USD by the values of each tag that a fleet with costs has, by the fleets' tags of now."""
        keys = sorted({key for cost in self.costs for key in self.tags.get(cost.fleet, {})})
        return {key: ledger.totals(self.costs, partial(self._value_of, key)) for key in keys}

    def _value_of(self, key: str, cost: DayCost) -> str:
        return self.tags.get(cost.fleet, {}).get(key, NOT_TAGGED)

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
            "by_user": _texts(self.by_user),
            "by_tag": {key: _texts(by) for key, by in self.by_tag.items()},
            "corrections": [corrected.as_json(one) for one in self.corrections],
        }

    def as_csv(self) -> Iterator[str]:
        """A line for each day, fleet, provider and GPU type."""
        rows = ((e.day, e.fleet, e.provider, e.gpu_type, e.usd) for e in self.costs)
        return csv_lines(["day", "fleet", "provider", "gpu_type", "usd"], rows)


def _texts(sums: Mapping[str, Decimal]) -> dict[str, str]:
    return {name: str(usd) for name, usd in sums.items()}


def spending(days: int, fleet: Fleet | None = None) -> Spending:
    """The spending of the last `days` days, including today; of all fleets, or of one."""
    now = utcnow()
    last = now.date()
    first = last - timedelta(days=days - 1)
    fleets = list(Fleet.objects.only("name", "created_by", "tags"))
    names = {each.pk: each.name for each in fleets}
    forecasts = {names[pk]: f for pk, f in ledger.forecast(now).items() if pk in names}
    costs, prices = ledger.day_costs(first, last), ledger.prices("fleet__name")
    compared: Mapping[str, Compared] = {}
    if fleet is None:
        compared = balances.compare_all(since=now - timedelta(days=days))
    else:
        costs = [cost for cost in costs if cost.fleet == fleet.name]
        forecasts = {name: f for name, f in forecasts.items() if name == fleet.name}
        prices = {name: price for name, price in prices.items() if name == fleet.name}
    return Spending(
        first=first,
        last=last,
        costs=costs,
        forecasts=forecasts,
        prices=prices,
        compared=compared,
        pks={name: pk for pk, name in names.items()},
        corrections=corrected.corrections(first, last, fleet),
        users={each.name: each.created_by for each in fleets},
        tags={each.name: each.tags for each in fleets},
        budget_usd=(Limits.get() if fleet is None else fleet).daily_budget_usd,
        fleet=fleet,
    )
