"""Surveys what an account offers: what its fleets ask for, and the market in general.

The general survey is in the account's row. What fleets ask for has a row of its own (`Survey`), one
for each distinct wish, because a market has more offers than a survey may read.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import to_json, to_jsonable_python

from pods.accounts import breaker, connecting
from pods.accounts.connecting import CannotConnect, Connect
from pods.base.shared_clock import shared_now
from pods.catalogue.wish_words import wish_text
from pods.models import LONGEST_PARTIAL, Account, Survey
from pods.providers.base import Capabilities, Offer, OfferQuery, Provider
from pods.providers.errors import ProviderError, RateLimited

# The cheapest offers of one survey that are kept. Two pages of each kind are 256 at Vast.ai.
MOST_OFFERS: Final = 500
# For rows of an older version, which do not say how long their offers last.
OFFERS_LAST: Final = Capabilities().offers_last

SINCE: Final = "since"  # of a stored offer: the first survey without a break that had it
_OFFER: Final = TypeAdapter(Offer)
_QUERY: Final = TypeAdapter(OfferQuery)


Identity = tuple[str, bool]  # the host, or the key of an offer without one; and its kind


def identity(offer: Offer) -> Identity:
    """What tells an offer from others of its account. The key of a bid changes with its price."""
    return offer.host or offer.key, offer.interruptible


@dataclass(frozen=True, slots=True, kw_only=True)
class Surveyed:
    """The offers of one survey of an account, and when they were read."""

    account: Account
    offers: Sequence[Offer]
    at: datetime | None  # None: never
    until: datetime | None  # they are too old from then on
    partial: str  # why offers may be missing; "": all were read
    since: Mapping[Identity, datetime] = field(default_factory=dict)

    def stood_for(self, offer: Offer) -> timedelta | None:
        """For how long surveys had seen the offer without a break; None: an older version's row."""
        since = self.since.get(identity(offer))
        return None if since is None or self.at is None else self.at - since

    def is_fresh(self, now: datetime) -> bool:
        """Whether a pod may be requested on these offers."""
        return self.until is not None and now < self.until


def survey_account(account: Account, *, connect: Connect = connecting.connect) -> int:
    """Ask the provider for its offers and store them; return how many the general survey has now.

    First what was not asked for longest, so that a rate which does not last for everything serves
    every wish in turn. If the provider does not answer, the last survey stays, with its age.
    """
    try:
        provider = connect(account)
    except CannotConnect as exc:
        breaker.failed(account, exc)
        return 0
    for turn, survey in enumerate(_in_turn(account)):
        try:
            _read(account, survey, provider, first=turn == 0)
        except RateLimited:
            break  # the rest is first the next time
        except ProviderError as exc:
            breaker.failed(account, exc)
            return 0
    return len(account.offers)


def _in_turn(account: Account) -> Iterable[Survey | None]:
    """The surveys of an account, the one that was not tried for longest first; None: the general.

    Of those that were never tried, a wish goes first: a fleet waits for it.
    """
    turns: list[tuple[datetime | None, Survey | None]] = [
        (survey.tried_at, survey) for survey in account.surveys.order_by("pk")
    ]
    turns.append((account.survey_tried_at, None))
    turns.sort(key=lambda turn: (turn[0] is not None, turn[0]))
    return [survey for _, survey in turns]


def _read(account: Account, survey: Survey | None, provider: Provider, *, first: bool) -> None:
    """Read the offers of one survey, and store them.

    One that is cut short because others went `first` does not replace a reading that is fresh: it has
    the first turn of the next minute, and the whole rate.

    Raises:
        ProviderError: nothing was read.
    """
    query = OfferQuery() if survey is None else query_of(survey)
    try:
        found = provider.offers(query)
    except RateLimited:
        raise  # it was not this one's turn: it stays the first
    except ProviderError:
        _write(account, survey, {"tried_at": shared_now()})
        raise
    now, partial = shared_now(), getattr(found, "partial", "")
    last = _surveyed(account, survey)
    if getattr(found, "cut_short", False) and not first and last.offers and last.is_fresh(now):
        return
    if len(found) > MOST_OFFERS:
        partial = partial or f"only the {MOST_OFFERS} cheapest of {len(found)} offers are kept"
    since = last.since if last.is_fresh(now) else {}
    cheapest = sorted(found, key=lambda offer: (offer.hourly_usd, offer.key))[:MOST_OFFERS]
    values = {
        "offers": [
            {**packed(offer), SINCE: (since.get(identity(offer)) or now).isoformat()}
            for offer in cheapest
        ],
        "surveyed_at": now,
        "tried_at": now,
        "offers_until": now + provider.capabilities.offers_last,
        "partial": partial[:LONGEST_PARTIAL],
    }
    _write(account, survey, values)


def _write(account: Account, survey: Survey | None, values: Mapping[str, Any]) -> None:
    if survey is not None:
        Survey.objects.filter(pk=survey.pk).update(**values)
        return
    own = {"tried_at": "survey_tried_at", "partial": "survey_partial"}
    columns = {own.get(name, name): value for name, value in values.items()}
    Account.objects.filter(pk=account.pk).update(**columns)
    for name, value in columns.items():
        setattr(account, name, value)


def keep_wishes(account: Account, wishes: Iterable[OfferQuery]) -> None:
    """Make the account's surveys those of these wishes, as far as the general one does not answer them.

    A price list is read whole each time. To ask for each wish too would only use up the rate, which a
    destroy may need.
    """
    wanted = _unanswered(account, wishes)
    account.surveys.exclude(digest__in=wanted).delete()
    _add(account, wanted)


def add_wish(account: Account, wish: OfferQuery) -> None:
    """Let the account's next survey read one more wish; the next `keep_wishes` may remove it again."""
    _add(account, _unanswered(account, [wish]))


def _unanswered(account: Account, wishes: Iterable[OfferQuery]) -> dict[str, OfferQuery]:
    """The wishes that the general survey does not answer, by their digests."""
    general = OfferQuery()
    whole = _has_all(account, shared_now())
    wanted = {
        digest(query): query
        for query in wishes
        if not whole or query.disk_gb < general.disk_gb or query.gpu_count != general.gpu_count
    }
    wanted.pop(digest(general), None)
    return wanted


def _add(account: Account, wanted: Mapping[str, OfferQuery]) -> None:
    known = set(account.surveys.values_list("digest", flat=True))
    Survey.objects.bulk_create(
        [
            Survey(
                account=account, digest=key, query=to_jsonable_python(query, timedelta_mode="float")
            )
            for key, query in wanted.items()
            if key not in known
        ],
        ignore_conflicts=True,  # another worker may have added the same wish
    )


def _has_all(account: Account, now: datetime) -> bool:
    """Whether the general survey is fresh and read everything that the account offers."""
    until = account.offers_until  # a row of an older version does not say it, nor what was left out
    return until is not None and now < until and not account.survey_partial


def digest(query: OfferQuery) -> str:
    """What tells a wish from others; the order of its names does not count."""
    values = to_jsonable_python(query, timedelta_mode="float")
    for name in ("gpu_types", "regions"):
        values[name] = sorted(set(values[name]))
    return sha256(to_json(dict(sorted(values.items())))).hexdigest()


def query_of(survey: Survey) -> OfferQuery:
    """The wish of a survey."""
    query: OfferQuery = _QUERY.validate_python(survey.query)
    return query


def words_of(survey: Survey) -> str:
    """The wish in words, without what it leaves open: `GPU H100 SXM, Disk 40 GB`."""
    usual = to_jsonable_python(OfferQuery(), timedelta_mode="float")
    said = {k: v for k, v in survey.query.items() if v != usual.get(k)}
    return ", ".join(wish_text(name, value) for name, value in said.items())


def known_offers(accounts: Collection[Account], *, wish: str | None = None) -> list[Surveyed]:
    """The general surveys of these accounts, and those of the wish; None: of all wishes. One query."""
    rows = Survey.objects.filter(account__in=accounts)
    if wish is not None:
        rows = rows.filter(digest=wish)
    by_id = {account.pk: account for account in accounts}
    own = [_surveyed(by_id[row.account_id], row) for row in rows.order_by("pk")]
    return [*own, *(_surveyed(account, None) for account in accounts)]


def _surveyed(account: Account, row: Survey | None) -> Surveyed:
    values = account if row is None else row
    at, until = values.surveyed_at, values.offers_until
    offers = [unpacked(offer) for offer in values.offers]
    return Surveyed(
        account=account,
        offers=offers,
        at=at,
        until=at + OFFERS_LAST if until is None and at is not None else until,
        partial=account.survey_partial if row is None else row.partial,
        since={
            identity(offer): datetime.fromisoformat(stored[SINCE])
            for offer, stored in zip(offers, values.offers, strict=True)
            if SINCE in stored
        },
    )


def names_seen(name: str) -> set[str]:
    """The values of `gpu_type` or `region` in all offers that are stored."""
    general = Account.objects.values_list("offers", flat=True)
    wished = Survey.objects.values_list("offers", flat=True)
    found = {offer.get(name) for offers in (*general, *wished) for offer in offers}
    return {str(value) for value in found if value}


def packed(offer: Offer) -> dict[str, Any]:
    """An offer as JSON values: money as text, durations in seconds."""
    values: dict[str, Any] = to_jsonable_python(offer, timedelta_mode="float")
    return values


def unpacked(values: Mapping[str, Any]) -> Offer:
    """The offer that a survey stored, without fields that this version does not know."""
    return _OFFER.validate_python(values)
