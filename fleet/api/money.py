"""Money: what was spent, what today will have cost, and the ceilings."""

from datetime import date
from typing import Annotated, Final

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import BaseModel, Field

from fleet.api.auth import needs
from fleet.api.named import fleet_called
from fleet.api.values import Usd
from fleet.models import Limits
from fleet.money.ledger import Forecast
from fleet.pages import money

router: Final = Router(tags=["money"])


class TodayOut(BaseModel):
    """Today in UTC."""

    spent_usd: Usd
    hourly_usd: Usd
    expected_usd: Usd = Field(description="At midnight UTC, if the running pods go on.")


class EntryOut(BaseModel):
    """What pods of one kind cost on one day in UTC."""

    day: date
    fleet: str
    provider: str
    gpu_type: str
    usd: Usd


class FleetCost(BaseModel):
    """What one fleet cost in these days."""

    fleet: str
    usd: Usd
    today: TodayOut
    usd_per_million: Usd | None = Field(description="Of a million items, over its whole life.")


class Ceilings(BaseModel):
    """What may be spent; null: no limit."""

    max_hourly_usd: Usd | None
    daily_budget_usd: Usd | None
    total_budget_usd: Usd | None = Field(description="Of a fleet; the installation has none.")


class MoneyOut(BaseModel):
    """The spending of several days, the last of which is today."""

    first: date
    last: date
    total_usd: Usd
    today: TodayOut
    over_usd: Usd | None = Field(description="By how much today will pass its budget.")
    ceilings: Ceilings
    fleets: list[FleetCost]
    entries: list[EntryOut]


class WhichDays(BaseModel):
    """Which days, and whose."""

    days: Annotated[int, Field(ge=1, le=money.MOST_DAYS)] = 7
    fleet: str = Field("", max_length=40, description="Of this fleet alone.")


def _today(found: Forecast) -> TodayOut:
    return TodayOut(
        spent_usd=found.spent_usd, hourly_usd=found.hourly_usd, expected_usd=found.expected_usd
    )


@router.get("/money", response=MoneyOut, **needs("fleet.view_fleet"))
def read_money(request: HttpRequest, asked: Query[WhichDays]) -> MoneyOut:
    """Read the spending and the ceilings, of all fleets or of one."""
    fleet = fleet_called(asked.fleet) if asked.fleet else None
    found = money.spending(asked.days, fleet)
    limits = Limits.get()
    return MoneyOut(
        first=found.first, last=found.last, total_usd=found.total_usd, today=_today(found.today),
        over_usd=found.over_usd,
        ceilings=Ceilings(
            max_hourly_usd=(fleet or limits).max_hourly_usd,
            daily_budget_usd=(fleet or limits).daily_budget_usd,
            total_budget_usd=fleet.total_budget_usd if fleet else None,
        ),
        fleets=[
            FleetCost(
                fleet=row.name, usd=row.usd, today=_today(row.today),
                usd_per_million=row.price.usd_per_million if row.price else None,
            )
            for row in found.shown
        ],
        entries=[
            EntryOut(day=e.day, fleet=e.fleet, provider=e.provider, gpu_type=e.gpu_type, usd=e.usd)
            for e in found.costs
        ],
    )  # fmt: skip
