"""Rows of an observed market: when which offers of an account stood."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from pods.models import Account, OfferSpell, SurveySpell


def read_for(account: Account, now: datetime, hours: float) -> None:
    """The account's offers were read in the last hours, up to now."""
    SurveySpell.objects.create(account=account, since=now - timedelta(hours=hours), until=now)


def stood(
    account: Account, now: datetime, since: float, until: float | None = None, **values: Any
) -> OfferSpell:
    """An L4 could be rented from so many hours ago until so many hours ago; None: it still can."""
    its: dict[str, Any] = {"gpu_type": "L4", "gpu_count": 1, "hourly_usd": Decimal("0.40")}
    return OfferSpell.objects.create(
        account=account,
        since=now - timedelta(hours=since),
        until=None if until is None else now - timedelta(hours=until),
        **{**its, **values},
    )
