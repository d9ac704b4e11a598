"""Surveys the offers of an account, and stores them in the account's row."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import to_jsonable_python

from pods.accounts import breaker, connecting
from pods.accounts.connecting import CannotConnect, Connect
from pods.base.clock import utcnow
from pods.models import Account
from pods.providers.base import Offer, OfferQuery
from pods.providers.errors import ProviderError

_OFFER: Final = TypeAdapter(Offer)


def survey_account(account: Account, *, connect: Connect = connecting.connect) -> int:
    """Ask the provider for its offers and store them; return how many there are.

    If the provider does not answer, the last survey stays, and `surveyed_at` shows its age.
    """
    try:
        offers = connect(account).offers(OfferQuery())
    except (ProviderError, CannotConnect) as exc:
        breaker.failed(account, exc)
        return 0
    account.offers = [packed(offer) for offer in offers]
    account.surveyed_at = utcnow()
    Account.objects.filter(pk=account.pk).update(
        offers=account.offers, surveyed_at=account.surveyed_at
    )
    return len(account.offers)


def packed(offer: Offer) -> dict[str, Any]:
    """An offer as JSON values: money as text, durations in seconds."""
    values: dict[str, Any] = to_jsonable_python(offer, timedelta_mode="float")
    return values


def unpacked(values: Mapping[str, Any]) -> Offer:
    """The offer that `survey_account` stored, without fields that this version does not know."""
    return _OFFER.validate_python(values)
