"""What can be rented."""

from datetime import datetime
from typing import Final

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import BaseModel, Field

from fleet.api.auth import needs
from fleet.api.named import fleet_called
from fleet.api.paging import MOST
from fleet.api.problems import Problem
from fleet.api.values import Usd
from fleet.pages import market, offers
from pods.catalogue.nearest import UnknownName

router: Final = Router(tags=["market"])


class OfferOut(BaseModel):
    """Something that can be rented now. What is not known is null."""

    account: str
    offer: str
    gpu: str
    gpus: int
    vram_gb: float | None
    region: str
    host: str
    interruptible: bool
    hourly_usd: Usd
    items_per_second: float | None
    measured: bool = Field(description="Whether that rate was measured, not estimated.")
    million_items_usd: Usd | None = Field(description="The price of a million items on it.")
    left_alone_because: str = Field(description="Why it is not rented; empty: it may be.")


class OfferList(BaseModel):
    """Offers, the cheapest per item first."""

    items: list[OfferOut]
    more: int = Field(description="How many dearer ones are left out.")


class WhichOffers(BaseModel):
    """Which offers."""

    fleet: str = Field("", max_length=40, description="As this fleet would rent them.")
    gpu: str = Field("", max_length=80, description="Only this GPU.")
    limit: int = Field(50, ge=1, le=MOST)


@router.get("/offers", response=OfferList, **needs("pods.view_account"))
def list_offers(request: HttpRequest, asked: Query[WhichOffers]) -> OfferList:
    """List the offers that can be rented now, as `offers --json` does."""
    fleet = fleet_called(asked.fleet) if asked.fleet else None
    gpus = _gpus(asked.gpu)
    try:
        wanted, known = offers.as_asked(fleet)
    except ValueError as exc:
        raise Problem(409, str(exc)) from exc
    found = offers.rows(fleet, offers.accounts_of(fleet), wanted, known, gpus)
    items = [OfferOut(**row) for row in found[: asked.limit]]
    return OfferList(items=items, more=len(found) - len(items))


def _gpus(name: str) -> list[str]:
    try:
        return [offers.gpu_called(name)] if name else []
    except UnknownName as exc:
        raise Problem(422, f"gpu: {exc}", errors={"gpu": [str(exc)]}) from exc


class SpellOut(BaseModel):
    """A time in which offers of a type stood, at about one price."""

    since: datetime
    until: datetime | None = Field(description="null: it still stood at the last reading.")
    hourly_usd: Usd


class OfferTypeOut(BaseModel):
    """A type of offers, and when it could be rented."""

    gpu: str
    gpus: int
    region: str
    interruptible: bool
    hourly_usd: Usd | None = Field(description="Now; null: it cannot be rented now.")
    lowest_usd: Usd
    highest_usd: Usd
    percent: float | None = Field(description="Of the time that is known, in which it stood.")
    spells: list[SpellOut]


class AccountMarketOut(BaseModel):
    """What an account offered."""

    account: str
    partial: str = Field(description="Why offers may be missing; empty: all are read.")
    read: list[tuple[datetime, datetime]] = Field(
        description="When its offers were read. Of other times nobody knows."
    )
    types: list[OfferTypeOut]
    more: int = Field(description="How many dearer types are left out.")


class LivesOut(BaseModel):
    """What the pods of a GPU type did in the last 30 days. What is not known is null."""

    gpu: str
    gpus: int
    interruptible: bool
    pods: int
    hours: float
    boot_seconds: float | None = Field(description="The median.")
    longest_boot_seconds: float | None
    lost: int = Field(description="Interruptible pods that the vendor took away.")
    lost_in_100_hours: float | None
    items_per_second: dict[str, float] = Field(description="Of a pod, by fleet.")


class MarketOut(BaseModel):
    """The observed market."""

    since: datetime
    until: datetime
    accounts: list[AccountMarketOut]
    pods: list[LivesOut]


class WhichMarket(BaseModel):
    """Which part of the market."""

    days: int = Field(market.DAYS, ge=1, le=market.MOST_DAYS)
    account: str = Field("", max_length=40, description="Only this account.")
    gpu: str = Field("", max_length=80, description="Only this GPU.")
    limit: int = Field(50, ge=1, le=MOST, description="Types of each account.")


@router.get("/market", response=MarketOut, **needs("pods.view_account"))
def read_market(request: HttpRequest, asked: Query[WhichMarket]) -> MarketOut:
    """Say what could be rented when and at which price, as `fleet market --json` does."""
    found = market.market(days=asked.days, account=asked.account, asked=_gpus(asked.gpu)).as_json()
    for account in found["accounts"]:
        types = account["types"]
        account["types"], account["more"] = types[: asked.limit], max(0, len(types) - asked.limit)
    return MarketOut(**found, pods=[LivesOut(**each.as_json()) for each in market.lives()])
