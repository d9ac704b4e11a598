"""What can be rented, and from which accounts. No answer has a secret of an account."""

from typing import Any, Final, Literal

from django.http import HttpRequest
from ninja import Query, Router
from pydantic import BaseModel, Field

from fleet.api import paging
from fleet.api.auth import needs
from fleet.api.named import fleet_called
from fleet.api.paging import MOST, Asked, Page
from fleet.api.problems import Problem
from fleet.api.values import Moment, Usd
from fleet.pages import offers
from pods import masking
from pods.catalogue.nearest import UnknownName
from pods.models import Account

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


class AccountOut(BaseModel):
    """An account at a provider."""

    id: int
    name: str
    provider: str
    enabled: bool
    key: Literal["stored", "reference", "none"] = Field(description="How it has its key.")
    options: dict[str, Any]
    orphans: str = Field(description="What becomes of machines of ours without a pod.")
    failures: int = Field(description="Calls in a row that failed.")
    open_until: Moment | None = Field(description="Until when it is left alone after failures.")
    last_error: str
    last_error_kind: str
    surveyed_at: Moment | None
    reconciled_at: Moment | None


class AccountPage(Page):
    """Accounts in the order in which they were made."""

    items: list[AccountOut]


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


@router.get("/accounts", response=AccountPage, **needs("pods.view_account"))
def list_accounts(request: HttpRequest, asked: Query[Asked]) -> AccountPage:
    """List the accounts, without their secrets."""
    found, more = paging.by_id(Account.objects.defer("offers"), asked, newest_first=False)
    return AccountPage(items=[_of(account) for account in found], next=more)


def _of(account: Account) -> AccountOut:
    key: Literal["stored", "reference", "none"] = (
        "stored" if account.sealed_secret else "reference" if account.secret_ref else "none"
    )
    plain = (
        "name", "provider", "enabled", "orphans", "failures", "open_until", "last_error_kind",
        "surveyed_at", "reconciled_at",
    )  # fmt: skip
    return AccountOut(
        id=account.pk, key=key, options=masking.without_secrets(account.options),
        last_error=masking.without_passwords(account.last_error),
        **{name: getattr(account, name) for name in plain},
    )  # fmt: skip
