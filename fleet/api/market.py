"""What can be rented."""

from typing import Final

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import BaseModel, Field

from fleet.api.auth import needs
from fleet.api.named import fleet_called
from fleet.api.paging import MOST
from fleet.api.problems import Problem
from fleet.api.values import Usd
from fleet.pages import offers
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
    try:
        gpus = [offers.gpu_called(asked.gpu)] if asked.gpu else []
    except UnknownName as exc:
        raise Problem(422, f"gpu: {exc}", errors={"gpu": [str(exc)]}) from exc
    try:
        wanted, known = offers.as_asked(fleet)
    except ValueError as exc:
        raise Problem(409, str(exc)) from exc
    found = offers.rows(fleet, offers.accounts_of(fleet), wanted, known, gpus)
    items = [OfferOut(**row) for row in found[: asked.limit]]
    return OfferList(items=items, more=len(found) - len(items))
