"""The offers that can be rented now, as the command line and the API show them."""

from collections.abc import Mapping, Sequence
from typing import Any

from fleet.decision import placement
from fleet.decision.placement import NOTHING_KNOWN, Experience, Weighed
from fleet.decision.values import Wanted
from fleet.models import Fleet
from fleet.tick import market, wishes
from pods.accounts import surveying
from pods.base.clock import utcnow
from pods.catalogue import gpus
from pods.models import Account, Pod
from pods.providers.base import OfferQuery


def accounts_of(fleet: Fleet | None) -> Sequence[Account]:
    """The enabled accounts of a fleet, or all."""
    rows = Account.objects.all() if fleet is None else fleet.accounts.all()
    return list(rows.filter(enabled=True).order_by("pk"))


def as_asked(fleet: Fleet | None) -> tuple[Wanted, Experience]:
    """What a fleet wants to rent, and what is known of its pods; nothing of either without a fleet.

    Raises:
        ValueError: its wish cannot be read.
    """
    if fleet is None:
        return Wanted(), NOTHING_KNOWN
    pods = list(Pod.objects.filter(fleet=fleet).billable())
    try:
        wish = wishes.wanted(fleet)
    except ValueError as exc:
        raise ValueError(f"{fleet.name}: offer_query: {exc}") from exc
    return wish, market.experience(fleet, utcnow(), pods)


def gpu_called(name: str) -> str:
    """The GPU of this name.

    Raises:
        UnknownName: nobody knows it; the message has names that are near.
    """
    return gpus.wished(name, seen=surveying.names_seen("gpu_type"))


def rows(
    fleet: Fleet | None,
    accounts: Sequence[Account],
    wanted: Wanted,
    known: Experience,
    asked: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """The offers as JSON values, the cheapest per item first; `asked`: only these GPUs."""
    disk_gb = OfferQuery().disk_gb if fleet is None else fleet.disk_gb
    seen = market.offers_of(accounts, disk_gb=disk_gb, wish=wanted if fleet else None)
    names = {a.pk: a.name for a in accounts}
    return [
        _row(place, known, names)
        for place in placement.weigh(seen, wanted, known)
        if not asked
        or any(gpus.means(wish, place.offer.gpu_type, place.offer.vram_gb) for wish in asked)
    ]


def _row(place: Weighed, known: Experience, names: Mapping[int, str]) -> dict[str, Any]:
    offer = place.offer
    speed = known.speed(placement.kind_of(offer))
    cost = offer.million_items_usd
    return {
        "account": names[offer.account_id],
        "offer": offer.key,
        "gpu": offer.gpu_type,
        "gpus": offer.gpu_count,
        "vram_gb": offer.vram_gb,
        "region": offer.region,
        "host": offer.host,
        "interruptible": offer.interruptible,
        "hourly_usd": str(offer.hourly_usd),
        "items_per_second": None if speed is None else round(speed, 2),
        "measured": place.measured,
        "million_items_usd": None if cost is None else f"{cost:.2f}",
        "left_alone_because": place.refused,
    }
