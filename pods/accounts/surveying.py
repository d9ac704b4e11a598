"""What can be rented now on each account: a survey, kept on the account's row."""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import timedelta
from decimal import Decimal
from typing import Any

from pods.accounts import breaker, connecting
from pods.accounts.connecting import CannotConnect, Connect
from pods.base.clock import utcnow
from pods.models import Account
from pods.providers.base import Offer, OfferQuery
from pods.providers.errors import ProviderError


def survey_account(account: Account, *, connect: Connect = connecting.connect) -> int:
    """Ask the provider for its offers and keep them; how many there are.

    Where the provider does not answer, the last survey stays, and its age tells.
    """
    try:
        offers = connect(account).offers(OfferQuery())
    except (ProviderError, CannotConnect) as exc:
        breaker.failed(account, exc)
        return 0
    account.offers = [_packed(offer) for offer in offers]
    account.surveyed_at = utcnow()
    Account.objects.filter(pk=account.pk).update(
        offers=account.offers, surveyed_at=account.surveyed_at
    )
    return len(account.offers)


def _packed(offer: Offer) -> dict[str, Any]:
    """An offer as JSON: money as strings, durations in seconds."""
    packed = asdict(offer)
    packed["hourly_usd"] = str(offer.hourly_usd)
    packed["stopped_hourly_usd"] = str(offer.stopped_hourly_usd)
    packed["gb_hourly_usd"] = str(offer.gb_hourly_usd)
    packed["remaining"] = None if offer.remaining is None else offer.remaining.total_seconds()
    return packed


def unpacked(packed: Mapping[str, Any]) -> Offer:
    """The offer that `survey_account` kept."""
    values = dict(packed)
    values["hourly_usd"] = Decimal(values["hourly_usd"])
    values["stopped_hourly_usd"] = Decimal(values["stopped_hourly_usd"])
    values["gb_hourly_usd"] = Decimal(values.get("gb_hourly_usd", 0))  # since 0.2
    if values["remaining"] is not None:
        values["remaining"] = timedelta(seconds=values["remaining"])
    return Offer(**values)
