"""The offers that a fleet can rent from its accounts, weighed by the fleet's experience."""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from django.db.models import Case, F, FloatField, Q, Sum, When
from django.db.models.functions import Cast

from fleet.decision import placement, unfit
from fleet.decision.lacks import AccountLack, Lack
from fleet.decision.placement import Experience, Failure, Kind, Trouble, Weighed
from fleet.decision.supply import MOST_PLACES
from fleet.decision.values import MOST_STARTS, Goal, OfferFacts, Wanted
from fleet.models import Fleet
from fleet.tick import wishes
from pods.accounts import breaker, surveying
from pods.accounts.surveying import Surveyed
from pods.base import words
from pods.catalogue import gpus
from pods.models import Account, Pod
from pods.plural import plural
from pods.providers.base import Offer, OfferQuery
from pods.rules import (
    BROKEN_RULES,
    GAVE_UP_RULES,
    INFERRED_RULES,
    LOST_RULES,
    OFFER_RULES,
    TAKEN_RULES,
    PodRule,
)
from pods.sightings import RATE_WINDOW_SECONDS
from pods.states import ACTIVE, FAILED, LOST, TERMINATED, TERMINATING

# Older speeds most likely belong to another model or image.
MEASURED_WITHIN: Final = timedelta(days=30)
SHOWN_AFTER: Final = timedelta(seconds=RATE_WINDOW_SECONDS)
# A pod that had items in hand for less time says nothing about its speed.
LEAST_HELD_MS: Final = int(RATE_WINDOW_SECONDS * 1000)
MOST_MEASURED: Final = 200  # pods whose whole work is read
FAILURES_READ: Final = 500
LONGEST_REMEMBERED: Final = timedelta(days=3)  # each failure says itself for how long it counts
MICRO: Final = Decimal("0.000001")  # USD/hour; the precision of the columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Supply:
    """What a fleet can rent now, best first; or none, and why, for each of its accounts."""

    offers: tuple[OfferFacts, ...] = ()
    because: str = ""  # why there is none, for people
    lacks: tuple[AccountLack, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listed:
    """The offers of one account, as far as they are not too old."""

    account: Account
    surveys: Sequence[Surveyed]  # all of them, the fleet's wish first
    offers: Sequence[OfferFacts] = ()
    free: Sequence[OfferFacts] = ()  # without those on hosts that were rented since


def says_speed() -> Q:
    """The pods that had items in hand for long enough to show their speed."""
    return Q(held_ms=0) | Q(held_ms__gte=LEAST_HELD_MS)  # 0: an older agent


def offers_for(
    fleet: Fleet,
    now: datetime,
    known: Experience,
    *,
    accounts: Collection[Account] | None = None,
) -> Supply:
    """The offers that the fleet can rent now, from all its accounts or from these."""
    accounts = list(fleet.accounts.order_by("pk")) if accounts is None else accounts
    if not accounts:
        return Supply(because="the fleet has no account to rent from; give it one")
    try:
        wish = wishes.wanted(fleet)
    except ValueError as exc:
        # Forms refuse it. If it is there, the tick must still retire idle pods.
        return Supply(because=f"offer_query: {exc}")
    usable = [a for a in accounts if a.enabled and not breaker.is_open(a, now=now)]
    listed = _listed(usable, wish, now)
    offers = [offer for one in listed for offer in one.free]
    ranked = _ranked(fleet, offers, wish, known)
    if ranked:
        return Supply(offers=ranked)
    weighed = placement.weigh(offers, wish, known)
    by_id = {one.account.pk: one for one in listed}
    lacks = [_lack(a, by_id.get(a.pk), weighed, wish, now) for a in accounts]
    because = "; ".join(f"{lack.account}: {lack.because}" for lack in lacks)
    return Supply(because=because, lacks=tuple(lacks))


def _ranked(
    fleet: Fleet, offers: Sequence[OfferFacts], wish: Wanted, known: Experience
) -> tuple[OfferFacts, ...]:
    """The offers to rent, best first. A goal weighs both kinds, so it needs the best of each."""
    if fleet.goal == Goal.DEMAND.value:
        return placement.rank(offers, wish, known, room=min(fleet.spawn_per_tick, MOST_STARTS))
    room = min(fleet.max_instances, MOST_PLACES)
    spot = placement.rank([o for o in offers if o.interruptible], wish, known, room=room)
    firm = placement.rank([o for o in offers if not o.interruptible], wish, known, room=room)
    return (*spot, *firm)


def offers_of(
    accounts: Collection[Account], *, disk_gb: int, wish: Wanted | None = None
) -> list[OfferFacts]:
    """The offers of the accounts' surveys, of any age, priced with a disk of that size.

    `wish`: only what was read for it and in general; None: all.
    """
    digest = None if wish is None else surveying.digest(wishes.query_of(wish))
    surveys = surveying.known_offers(accounts, wish=digest)
    return [offer for a in accounts for offer, _ in _merged(_of(a, surveys), disk_gb)]


def _listed(accounts: Collection[Account], wish: Wanted, now: datetime) -> list[_Listed]:
    """The offers of each account that are fresh enough to rent by. Two queries."""
    digest = surveying.digest(wishes.query_of(wish))
    surveys = surveying.known_offers(accounts, wish=digest)
    rented = _rented_since(surveys)
    found: list[_Listed] = []
    for account in accounts:
        own = _of(account, surveys)
        merged = _merged([s for s in own if s.is_fresh(now)], wish.disk_gb)
        free = [
            offer
            for offer, at in merged
            if not any(then >= at for then in rented.get((account.pk, offer.host), ()))
        ]
        offers = [offer for offer, _ in merged]
        found.append(_Listed(account=account, surveys=own, offers=offers, free=free))
    return found


def _of(account: Account, surveys: Iterable[Surveyed]) -> list[Surveyed]:
    return [s for s in surveys if s.account.pk == account.pk]


def _merged(surveys: Sequence[Surveyed], disk_gb: int) -> list[tuple[OfferFacts, datetime]]:
    """The offers of an account, each with the time at which it was read.

    Of a machine that two surveys show, the newer one counts: its price may have changed, and with it
    the key of a bid.
    """
    merged: list[tuple[OfferFacts, datetime]] = []
    shown: set[tuple[str, int, bool]] = set()
    newest_first = sorted((s for s in surveys if s.at is not None), key=_read_at, reverse=True)
    for survey in newest_first:
        facts = [
            replace(_facts(survey.account, offer, disk_gb), stood_for=survey.stood_for(offer))
            for offer in survey.offers
        ]
        fresh = [f for f in facts if _identity(f) not in shown]
        merged += [(f, _read_at(survey)) for f in fresh]
        shown |= set(map(_identity, fresh))
    return merged


def _identity(offer: OfferFacts) -> tuple[str, int, bool]:
    """What tells a machine from others. A host may rent out one of its GPUs, and two of them too."""
    return offer.host or offer.key, offer.gpu_count, offer.interruptible


def _read_at(survey: Surveyed) -> datetime:
    assert survey.at is not None
    return survey.at


def _rented_since(surveys: Sequence[Surveyed]) -> dict[tuple[int, str], list[datetime]]:
    """When hosts were rented since the oldest of these surveys. One query."""
    since = min((s.at for s in surveys if s.at is not None), default=None)
    rented: dict[tuple[int, str], list[datetime]] = {}
    if since is None:
        return rented
    rows = Pod.objects.filter(
        account__in={s.account.pk for s in surveys}, requested_at__gte=since
    ).exclude(host="")
    for account_id, host, at in rows.values_list("account_id", "host", "requested_at"):
        rented.setdefault((account_id, host), []).append(at)
    return rented


def _lack(
    account: Account,
    listed: _Listed | None,
    weighed: Sequence[Weighed],
    wish: Wanted,
    now: datetime,
) -> AccountLack:
    lack, because = _why_none(account, listed, weighed, wish, now)
    return AccountLack(account_id=account.pk, account=account.name, lack=lack, because=because)


def _why_none(
    account: Account,
    listed: _Listed | None,
    weighed: Sequence[Weighed],
    wish: Wanted,
    now: datetime,
) -> tuple[Lack, str]:
    """Why this account gives the fleet no offer now."""
    if not account.enabled:
        return Lack.DISABLED, "the account is disabled"
    if listed is None:
        why = f": {account.last_error}" if account.last_error else ""
        return Lack.LEFT_ALONE, f"left alone after failures{why}"
    read = [s for s in listed.surveys if s.at is not None]
    if not read:
        return Lack.NOT_SURVEYED, "its offers were not read yet"
    if not any(s.is_fresh(now) for s in read):
        age = words.duration(now - max(map(_read_at, read)))
        return Lack.TOO_OLD, f"its offers are {age} old, which is too old to rent by"
    if not listed.offers:
        return Lack.NOTHING_OFFERED, "it has no offer now"
    if not listed.free:
        return Lack.ALL_TAKEN, "its offers were rented since they were read"
    fitting = [w for w in weighed if w.offer.account_id == account.pk]
    if fitting:
        offers = plural(len(fitting), "fitting offer")
        return Lack.AVOIDED, f"{offers} avoided for now (the best one: {fitting[0].refused})"
    return Lack.NONE_FITS, _none_fits(listed, wish, now)


def _none_fits(listed: _Listed, wish: Wanted, now: datetime) -> str:
    *asked, general = listed.surveys
    # The general survey leaves hosts with less disk out, and other numbers of GPUs.
    usual = OfferQuery()
    other = wish.disk_gb < usual.disk_gb or wish.gpu_count != usual.gpu_count
    whole = general.is_fresh(now) and not general.partial and not other
    unmatched = unfit.why_unfit(listed.free, wish, all_read=whole)
    if not whole and any(s.is_fresh(now) and not s.partial for s in asked):
        return f"asked for just that, it has no offer with {unmatched}"
    offers = plural(len(listed.free), "offer")
    seen = f"none of its {offers} fits what the fleet asks for ({unmatched})"
    partial = listed.surveys[0].partial
    return f"{seen} (not all were read: {partial})" if partial else seen


def experience(
    fleet: Fleet, now: datetime, pods: Collection[Pod], working: Collection[int] = ()
) -> Experience:
    """The fleet's experience. `pods` may bill; those in `working` have acknowledged an item."""
    speeds, proven = _measured(fleet, now)
    return Experience(
        speeds=speeds,
        proven=proven | {_kind(p) for p in pods if p.pk in working},
        running=Counter(_kind(p) for p in pods if p.status in ACTIVE),
        failures=_failures(fleet, now),
    )


def _measured(fleet: Fleet, now: datetime) -> tuple[dict[Kind, float], frozenset[Kind]]:
    """Items/s by kind, and the kinds that have acknowledged an item. One query, seldom two.

    A pod's speed is over the time in which it had items in hand: the rate of its last half minute is
    that of its work alone only while it has enough of it. Older agents do not say that time. Of them
    the rate counts. The mean is weighted with the speed itself, so a low rate of little work weighs
    little. A kind of such pods without a rate, because their work is over, has that of all their work.
    """
    shown = ~Q(ready_at__gt=now - SHOWN_AFTER)
    held = Cast("done", FloatField()) * 1000.0 / Cast("held_ms", FloatField())
    own = Case(
        When(held_ms__gte=LEAST_HELD_MS, then=held),
        When(shown & Q(held_ms=0), then=F("rate")),
        output_field=FloatField(),
    )
    rows = (
        Pod.objects.filter(fleet=fleet, done__gt=0, requested_at__gt=now - MEASURED_WITHIN)
        .values_list("gpu_type", "gpu_count")
        .annotate(squares=Sum(own * own), rates=Sum(own))
    )
    sums: dict[Kind, tuple[float, float]] = {}
    proven: set[Kind] = set()
    for gpu_type, gpu_count, squares, rates in rows:
        # Rows of older versions have the names of their vendors.
        kind = gpus.named(gpu_type), gpu_count
        proven.add(kind)
        if rates:
            before = sums.get(kind, (0.0, 0.0))
            sums[kind] = before[0] + squares, before[1] + rates
    speeds = {kind: squares / rates for kind, (squares, rates) in sums.items()}
    if missing := proven - speeds.keys():
        speeds |= {k: rate for k, rate in _over_all_work(fleet, now).items() if k in missing}
    return speeds, frozenset(proven)


def _over_all_work(fleet: Fleet, now: datetime) -> dict[Kind, float]:
    """Items/s by kind of pods with older agents, from ready until they had nothing to do. One query.

    A pod that still works and finishes nothing is left out, and so is one that was ended as ill or
    by an operator: nobody knows for how long it worked.
    """
    done: dict[Kind, int] = defaultdict(int)
    seconds: dict[Kind, float] = defaultdict(float)
    rows = Pod.objects.filter(
        fleet=fleet, done__gt=0, held_ms=0, ready_at__isnull=False,
        requested_at__gt=now - MEASURED_WITHIN,
    )  # fmt: skip
    rows = rows.exclude(retire_rule__in={*INFERRED_RULES, PodRule.OPERATOR}).order_by(
        "-requested_at"
    )
    columns = ("gpu_type", "gpu_count", "done", "ready_at", "idle_since", "ended_at")
    for gpu_type, gpu_count, items, ready_at, idle_since, ended_at in rows.values_list(*columns)[
        :MOST_MEASURED
    ]:
        kind = gpus.named(gpu_type), gpu_count
        until = idle_since if idle_since and idle_since > ready_at else ended_at
        if until is None:
            continue
        done[kind] += items
        seconds[kind] += max(1.0, (until - ready_at).total_seconds())
    return {kind: items / seconds[kind] for kind, items in done.items()}


def _failures(fleet: Fleet, now: datetime) -> tuple[Failure, ...]:
    """The pods of all fleets that failed lately: a bad host is bad for every fleet. Two queries.

    Refusals are many and soon forgotten; they must not crowd out the bad hosts. An agent that gave up
    says something about its host for its own fleet alone: another has another handler.
    """
    refused = Q(state=FAILED.value, asked_at__isnull=False, retire_rule__in=OFFER_RULES)
    gone = [TERMINATED.value, TERMINATING.value]
    broken = Q(state__in=gone, retire_rule__in=BROKEN_RULES | LOST_RULES)
    gave_up = Q(state__in=gone, retire_rule__in=GAVE_UP_RULES, fleet=fleet, done=0)
    ended = Q(state=LOST.value) | broken | gave_up
    rows = [
        *_newest(refused, since=now - placement.REMEMBERED),
        *_newest(ended, since=now - LONGEST_REMEMBERED),
    ]
    return tuple(
        Failure(
            trouble=_trouble(state, rule, host, interruptible=interruptible),
            account_id=account_id,
            key=key,
            host=host,
            ago=max(now - since, timedelta(0)),
            boot_deadline=timedelta(seconds=boot),
        )
        for state, rule, interruptible, account_id, key, host, since, boot in rows
    )


def _newest(which: Q, *, since: datetime) -> Iterable[tuple[Any, ...]]:
    rows = Pod.objects.filter(which, state_since__gt=since).order_by("-state_since")
    return rows.values_list(
        "state", "retire_rule", "interruptible", "account_id", "offer_key", "host", "state_since",
        "boot_seconds",
    )[:FAILURES_READ]  # fmt: skip


def _trouble(state: str, rule: str, host: str, *, interruptible: bool) -> Trouble:
    if state == FAILED.value:
        return Trouble.REFUSED
    if rule in GAVE_UP_RULES:
        return Trouble.LOST if interruptible and rule in TAKEN_RULES else Trouble.GAVE_UP
    if rule == PodRule.NOT_AS_ORDERED.value and not host:
        return Trouble.REFUSED  # no host to leave alone: the offer gave no machine as ordered
    return Trouble.LOST if interruptible and rule not in BROKEN_RULES else Trouble.BROKEN


def _kind(pod: Pod) -> Kind:
    return gpus.named(pod.gpu_type), pod.gpu_count


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
