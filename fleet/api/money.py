"""Money: what was spent, what today will have cost, and the ceilings."""

from datetime import date, datetime
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
from pods.models import Correction

MOST_CORRECTIONS: Final = 1000
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


class UserCost(BaseModel):
    """What the fleets of one user cost in these days."""

    user: str = Field(description='Who made the fleets; "unknown user": an older version did.')
    usd: Usd


class TagCost(BaseModel):
    """What the fleets with one tag cost in these days, by the fleets' tags as they are now."""

    tag: str
    value: str = Field(description='"not tagged": of fleets that do not have this tag.')
    usd: Usd


class CorrectionOut(BaseModel):
    """Why the sum of a day is not what it was."""

    at: datetime = Field(description="When it was booked.")
    day: date
    fleet: str
    pod: str
    usd: Usd = Field(description="By how much the sum changed; below 0: it fell.")
    why: str = Field(description="For code: " + ", ".join(why.value for why in Correction.Why))
    because: str = Field(description="For people.")
    since: datetime
    until: datetime


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
    by_user: list[UserCost]
    by_tag: list[TagCost]
    corrections: list[CorrectionOut] = Field(
        description=f"The newest first, at most {MOST_CORRECTIONS:,}."
    )


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
        by_user=[UserCost(user=user, usd=usd) for user, usd in found.by_user.items()],
        by_tag=[
            TagCost(tag=tag, value=value, usd=usd)
            for tag, by in found.by_tag.items()
            for value, usd in by.items()
        ],
        corrections=[
            CorrectionOut(
                at=c.at, day=c.day, fleet=c.fleet, pod=c.pod, usd=c.usd, why=c.why.value,
                because=c.because, since=c.since, until=c.until,
            )
            for c in found.corrections[:MOST_CORRECTIONS]
        ],
    )  # fmt: skip
