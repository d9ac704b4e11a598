"""The offers that a fleet can rent from its accounts, weighed by the fleet's experience."""

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from django.db.models import F, FloatField, Q, Sum
from pydantic import TypeAdapter, ValidationError

from fleet.decision import placement
from fleet.decision.placement import Experience, Failure, Kind, Trouble
from fleet.decision.values import OfferFacts, Wanted
from fleet.models import Fleet
from pods.accounts import breaker, surveying
from pods.models import Account, Pod
from pods.providers.base import Offer
from pods.rules import BROKEN_RULES, LOST_RULES, OFFER_RULES
from pods.states import ACTIVE, FAILED, LOST, TERMINATED, TERMINATING

# Older speeds most likely belong to another model or image.
MEASURED_WITHIN: Final = timedelta(days=30)
FAILURES_READ: Final = 500
MICRO: Final = Decimal("0.000001")  # USD/hour; the precision of the columns

_WANTED: Final = TypeAdapter(Wanted)


def accounts_of(fleet: Fleet, now: datetime) -> tuple[Sequence[Account], str]:
    """The accounts that the fleet may rent from now; or none, and the reason."""
    accounts = list(fleet.accounts.order_by("pk"))
    if not accounts:
        return (), "the fleet has no account to rent from; give it one"
    usable = [a for a in accounts if a.enabled and not breaker.is_open(a, now=now)]
    if not usable:
        return (), "every account of the fleet is disabled, or paused after failures"
    return usable, ""


def offers_of(accounts: Iterable[Account], *, disk_gb: int) -> list[OfferFacts]:
    """The offers of the accounts' last surveys, priced with a disk of that size."""
    return [_facts(a, surveying.unpacked(packed), disk_gb) for a in accounts for packed in a.offers]


def _still_there(offers: Iterable[OfferFacts], accounts: Iterable[Account]) -> list[OfferFacts]:
    """The offers without those on hosts that were rented since the survey. One query."""
    since = Q()
    for account in accounts:
        if account.surveyed_at is not None:
            since |= Q(account=account, requested_at__gte=account.surveyed_at)
    rented = Pod.objects.filter(since).exclude(host="") if since else Pod.objects.none()
    used_up = set(rented.values_list("account_id", "host"))
    return [o for o in offers if not o.host or (o.account_id, o.host) not in used_up]


def offers_for(
    fleet: Fleet, now: datetime, known: Experience
) -> tuple[tuple[OfferFacts, ...], str]:
    """The offers of the fleet's accounts, best first; or none, and the reason."""
    accounts, why = accounts_of(fleet, now)
    if not accounts:
        return (), why
    offers = _still_there(offers_of(accounts, disk_gb=fleet.disk_gb), accounts)
    if not offers:
        return (), "no account of the fleet has an offer now"
    try:
        wish = wanted(fleet)
    except (
        ValueError
    ) as exc:  # forms refuse it; if it is there, the tick must still retire idle pods
        return (), f"offer_query: {exc}"
    ranked = placement.rank(offers, wish, known, room=fleet.spawn_per_tick)
    return ranked, "" if ranked else placement.why_none(offers, wish, known)


def experience(
    fleet: Fleet, now: datetime, pods: Collection[Pod], working: Collection[int] = ()
) -> Experience:
    """The fleet's experience. `pods` may bill; those in `working` have acknowledged an item."""
    speeds, proven = _measured(fleet, now)
    return Experience(
        speeds=speeds,
        proven=proven | {_kind(p) for p in pods if p.pk in working},
        running=Counter(_kind(p) for p in pods if p.status in ACTIVE),
        failures=_failures(now),
    )


def _measured(fleet: Fleet, now: datetime) -> tuple[dict[Kind, float], frozenset[Kind]]:
    """Items/s by kind, and the kinds that have acknowledged an item. One query.

    The mean is weighted with the rate itself, so the low rate of a pod with little work weighs little.
    """
    rows = (
        Pod.objects.filter(fleet=fleet, done__gt=0, requested_at__gt=now - MEASURED_WITHIN)
        .values_list("gpu_type", "gpu_count")
        .annotate(squares=Sum(F("rate") * F("rate"), output_field=FloatField()), rates=Sum("rate"))
    )
    speeds: dict[Kind, float] = {}
    proven: set[Kind] = set()
    for gpu_type, gpu_count, squares, rates in rows:
        proven.add((gpu_type, gpu_count))
        if rates:
            speeds[gpu_type, gpu_count] = squares / rates
    return speeds, frozenset(proven)


def _failures(now: datetime) -> tuple[Failure, ...]:
    """The pods of all fleets that failed lately: a bad host is bad for every fleet. One query."""
    refused = Q(state=FAILED.value, asked_at__isnull=False, retire_rule__in=OFFER_RULES)
    ended = Q(
        state__in=[TERMINATED.value, TERMINATING.value],
        retire_rule__in=BROKEN_RULES | LOST_RULES,
    )
    rows = (
        Pod.objects.filter(state_since__gt=now - placement.REMEMBERED)
        .filter(refused | Q(state=LOST.value) | ended)
        .order_by("-state_since")
        .values_list(
            "state", "retire_rule", "interruptible", "account_id", "offer_key", "host", "state_since"
        )[:FAILURES_READ]
    )  # fmt: skip
    return tuple(
        Failure(
            trouble=_trouble(state, rule, interruptible=interruptible),
            account_id=account_id,
            key=key,
            host=host,
            ago=max(now - since, timedelta(0)),
        )
        for state, rule, interruptible, account_id, key, host, since in rows
    )


def _trouble(state: str, rule: str, *, interruptible: bool) -> Trouble:
    if state == FAILED.value:
        return Trouble.REFUSED
    return Trouble.LOST if interruptible and rule not in BROKEN_RULES else Trouble.BROKEN


def _kind(pod: Pod) -> Kind:
    return pod.gpu_type, pod.gpu_count


def _facts(account: Account, offer: Offer, disk_gb: int) -> OfferFacts:
    """The facts of an offer. Surveys price one size of disk, so correct for the fleet's disk.

    If the price of the stopped machine is unknown, it counts as much as the running one.
    """
    shared = {f.name for f in fields(OfferFacts)} & {f.name for f in fields(Offer)}
    values = {name: getattr(offer, name) for name in shared}
    if offer.stopped_hourly_usd is None:
        values["stopped_hourly_usd"] = offer.hourly_usd
    if offer.gb_hourly_usd:
        rent = (offer.gb_hourly_usd * (disk_gb - offer.disk_gb)).quantize(MICRO)
        values["hourly_usd"] += rent
        values["stopped_hourly_usd"] += rent
    return OfferFacts(account_id=account.pk, **values)


def wanted(fleet: Fleet) -> Wanted:
    """The offers that the fleet accepts, from its offer_query.

    Raises:
        ValueError: a field of offer_query is unknown or malformed; the message says which.
    """
    query = fleet.offer_query
    if not isinstance(query, dict):
        raise ValueError(  # noqa: TRY004 - callers show an operator every ValueError
            'give names and values: {"gpu_types": ["RTX 4090"]}'
        )
    known = {f.name for f in fields(Wanted)}
    unknown = sorted(set(query) - known)
    if unknown:
        raise ValueError(f"{', '.join(unknown)} unknown; use {', '.join(sorted(known))}")
    try:
        wish = _WANTED.validate_python({k: v for k, v in query.items() if v is not None})
    except ValidationError as exc:
        raise ValueError(_first_of(exc)) from exc
    if wish.min_reliability is not None and not 0 <= wish.min_reliability <= 1:
        raise ValueError("min_reliability must be a share from 0 to 1")
    return wish


def _first_of(exc: ValidationError) -> str:
    first = exc.errors(include_url=False, include_context=False)[0]
    return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
