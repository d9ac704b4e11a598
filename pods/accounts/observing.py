"""Keeps what the surveys of an account found over time: from when to when, and at which price."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db import transaction

from pods.accounts import surveying
from pods.accounts.surveying import Surveyed
from pods.base.shared_clock import shared_now
from pods.catalogue import gpus
from pods.models import Account, OfferSpell, SurveySpell

# A longer break between two readings is a time of which nobody knows what was offered.
LONGEST_BREAK: Final = timedelta(minutes=10)
# A price that moves by less is the same spell: else each bid of a market would be a row.
SAME_PRICE: Final = Decimal("0.1")
LONGEST: Final = 80  # characters of a name

OfferType = tuple[str, int, str, bool]  # GPU, how many, region, interruptible


def observe(account: Account) -> None:
    """Write what the account's last surveys found: a few rows, and only where something changed.

    Safe to run twice, and at the same time: the newest reading counts. Without a fresh survey
    nothing is written, and a break begins.
    """
    now = shared_now()
    surveys = surveying.known_offers([account])
    fresh = [survey for survey in surveys if survey.is_fresh(now)]
    if not fresh:
        return
    stands = cheapest(fresh)
    with transaction.atomic():
        if _goes_on(account, now):
            # What a survey that is too old had shown may still be there.
            _write(account, stands, now, whole=len(fresh) == len(surveys))


def cheapest(surveys: Iterable[Surveyed]) -> dict[OfferType, Decimal]:
    """The types of offers in these surveys, each with its lowest price in USD/hour."""
    found: dict[OfferType, Decimal] = {}
    for survey in surveys:
        for offer in survey.offers:
            name = gpus.named(offer.gpu_type)
            key = (name[:LONGEST], offer.gpu_count, offer.region[:LONGEST], offer.interruptible)
            found[key] = min(offer.hourly_usd, found.get(key, offer.hourly_usd))
    return found


def _goes_on(account: Account, now: datetime) -> bool:
    """Note that the account was read now; False if another reading has been noted meanwhile.

    After a long break a new time of reading begins, and what stood before it ended with it.
    """
    last = SurveySpell.objects.filter(account=account).order_by("-since").first()
    if last is not None and now - last.until <= LONGEST_BREAK:
        return bool(SurveySpell.objects.filter(pk=last.pk, until__lt=now).update(until=now))
    if last is not None:
        OfferSpell.objects.filter(account=account, until=None).update(until=last.until)
    SurveySpell.objects.create(account=account, since=now, until=now)
    return True


def _write(
    account: Account, stands: Mapping[OfferType, Decimal], now: datetime, *, whole: bool
) -> None:
    """End the spells of what is gone or has another price; begin those that are new."""
    there = {_type_of(row): row for row in OfferSpell.objects.filter(account=account, until=None)}
    other = [key for key, row in there.items() if key in stands and not _same(row, stands[key])]
    gone = [key for key in there if key not in stands] if whole else []
    _end([there[key].pk for key in (*gone, *other)], now)
    new = [key for key in stands if key not in there]
    OfferSpell.objects.bulk_create(
        [
            OfferSpell(
                account=account, gpu_type=key[0], gpu_count=key[1], region=key[2],
                interruptible=key[3], hourly_usd=stands[key], since=now,
            )
            for key in (*new, *other)
        ],
        ignore_conflicts=True,  # another worker may have begun the same spell
    )  # fmt: skip


def _end(spells: Sequence[int], now: datetime) -> None:
    if spells:
        OfferSpell.objects.filter(pk__in=spells, until=None).update(until=now)


def _type_of(row: OfferSpell) -> OfferType:
    return row.gpu_type, row.gpu_count, row.region, row.interruptible


def _same(row: OfferSpell, hourly_usd: Decimal) -> bool:
    before: Decimal = row.hourly_usd
    return abs(hourly_usd - before) <= SAME_PRICE * before
