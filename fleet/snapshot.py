"""Gathers what one decision is made from: rows, one probe, one read of the heartbeats."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median

from django.conf import settings
from django.db.models import Count, Sum

from fleet import spending
from fleet.backlog import probes
from fleet.backlog.base import BacklogUnknown, Depth
from fleet.decision import placement
from fleet.decision.values import (
    Caps,
    Elsewhere,
    Mode,
    OfferFacts,
    Override,
    PodFacts,
    Policy,
    Snapshot,
    Wanted,
)
from fleet.models import Fleet, Limits
from pods import breaker, heartbeats, surveying
from pods.heartbeats import Beat, HeartbeatsUnknown
from pods.models import Account, Orphan, Pod
from pods.providers.base import Offer

BOOTS_MEASURED = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """A snapshot, and the rows that it was made of."""

    seen: Snapshot
    policy: Policy
    pods: dict[int, Pod]
    depth: Depth | None


def template_hash(fleet: Fleet) -> str:
    """What a canary proves: the image, the handler and its environment."""
    template = [fleet.image, fleet.handler, fleet.handler_env]
    return hashlib.sha256(json.dumps(template, sort_keys=True).encode()).hexdigest()


def gather(fleet: Fleet, now: datetime, *, renew: bool = False) -> Gathered:
    """The snapshot of a fleet and its policy. The number of queries and round trips is fixed.

    `renew` also tells the agents that a manager lives: the tick does, who only looks does not.
    """
    depth, unknown_because = measure(fleet)
    pods = list(Pod.objects.filter(fleet=fleet).billable().order_by("pk"))
    beats, heard = _beats(pods, renew=renew)
    limits = Limits.get()
    policy = policy_of(fleet, limits, now)
    offers, why_none = offers_for(fleet, now)
    orphans = Orphan.objects.filter(fleet_id=fleet.pk, gone_at=None).aggregate(
        n=Count("pk"), usd=Sum("hourly_usd")
    )
    spent = spending.spent(now, fleet_id=fleet.pk)
    facts = [_pod_facts(p, beats.get(p.pk), now) for p in pods]
    rates = [f.items_per_second for f in facts if f.items_per_second]
    seen = Snapshot(
        now=now,
        depth=None if depth is None else depth.items,
        pending=0 if depth is None else depth.pending,
        depth_estimated=depth is not None and depth.estimated,
        unknown_because=unknown_because,
        pods=tuple(facts),
        orphans=orphans["n"],
        orphans_hourly_usd=Decimal(orphans["usd"] or 0),
        offers=offers,
        no_offers_because=why_none,
        spent_today_usd=spent.today,
        spent_total_usd=spent.total,
        proven=_proven(fleet, pods, beats),
        items_per_second=sum(rates) if heard and rates else None,
        boot_time=_boot_time(fleet),
        elsewhere=_elsewhere(fleet, limits, now),
    )
    return Gathered(seen=seen, policy=policy, pods={p.pk: p for p in pods}, depth=depth)


def measure(fleet: Fleet) -> tuple[Depth | None, str]:
    """The depth of the fleet's backlog, or None and why it is unknown."""
    try:
        probe = probes.build_probe(
            fleet.backlog,
            url=fleet.backlog_url or settings.REDIS_URL,
            name=fleet.stream,
            group=fleet.group,
        )
        return probe.measure(), ""
    except (BacklogUnknown, ValueError) as exc:
        return None, str(exc)


def policy_of(fleet: Fleet, limits: Limits, now: datetime) -> Policy:
    """What the operator asked of a fleet, as values."""
    held = fleet.overrides.filter(until__gt=now).first()
    return Policy(
        target_depth_per_pod=fleet.target_depth_per_pod,
        min_instances=fleet.min_instances,
        max_instances=fleet.max_instances,
        spawn_per_tick=fleet.spawn_per_tick,
        idle_after=timedelta(seconds=fleet.idle_seconds),
        drain_within=timedelta(seconds=fleet.drain_seconds),
        tick=fleet.tick_period,
        max_pod_age=None if fleet.max_pod_hours is None else timedelta(hours=fleet.max_pod_hours),
        max_hourly_usd=fleet.max_hourly_usd,
        daily_budget_usd=fleet.daily_budget_usd,
        total_budget_usd=fleet.total_budget_usd,
        mode=Mode(fleet.mode),
        override=None
        if held is None
        else Override(pods=held.pods, until=held.until, by=held.by, because=held.because),
        installation=Caps(
            max_instances=limits.max_instances,
            max_hourly_usd=limits.max_hourly_usd,
            daily_budget_usd=limits.daily_budget_usd,
        ),
        installation_mode=Mode(limits.mode),
    )


def offers_for(fleet: Fleet, now: datetime) -> tuple[tuple[OfferFacts, ...], str]:
    """The offers of the fleet's accounts, best first; or none, and why."""
    accounts: Sequence[Account] = list(fleet.accounts.order_by("pk"))
    if not accounts:
        return (), "the fleet has no account to rent from; give it one"
    usable = [a for a in accounts if a.enabled and not breaker.is_open(a, now=now)]
    if not usable:
        return (), "every account of the fleet is disabled, or left alone after failures"
    offers = [_offer_facts(a, surveying.unpacked(packed)) for a in usable for packed in a.offers]
    if not offers:
        return (), "no account has told what can be rented yet"
    ranked = placement.rank(offers, wanted(fleet), room=fleet.spawn_per_tick)
    return ranked, "" if ranked else "no offer fits what the fleet asks for"


def _offer_facts(account: Account, offer: Offer) -> OfferFacts:
    shared = {f.name for f in fields(OfferFacts)} & {f.name for f in fields(Offer)}
    return OfferFacts(account_id=account.pk, **{name: getattr(offer, name) for name in shared})


def wanted(fleet: Fleet) -> Wanted:
    """What the fleet is willing to rent.

    Raises:
        ValueError: offer_query has a field that is unknown or malformed; the message says which.
    """
    query = dict(fleet.offer_query)
    known = {f.name for f in fields(Wanted)}
    unknown = sorted(set(query) - known)
    if unknown:
        raise ValueError(
            f"offer_query: {', '.join(unknown)} unknown; use {', '.join(sorted(known))}"
        )
    try:
        if query.get("max_hourly_usd") is not None:
            query["max_hourly_usd"] = Decimal(str(query["max_hourly_usd"]))
        if query.get("min_remaining") is not None:
            query["min_remaining"] = timedelta(seconds=float(query["min_remaining"]))
    except (ArithmeticError, TypeError) as exc:
        raise ValueError(f"offer_query: {exc}") from exc
    return Wanted(**query)


def _beats(pods: Sequence[Pod], *, renew: bool) -> tuple[dict[int, Beat], bool]:
    """What the agents say; nothing, and False, where Redis does not answer."""
    if not pods:
        return {}, True
    try:
        return dict(heartbeats.read(pods, renew=renew).beats), True
    except HeartbeatsUnknown:
        return {}, False


def _pod_facts(pod: Pod, beat: Beat | None, now: datetime) -> PodFacts:
    said = beat.said if beat is not None else None
    idle = None
    if beat is not None and said is not None and said.idle_ms and not said.in_flight:
        idle = timedelta(milliseconds=said.idle_ms) + beat.age
    return PodFacts(
        pod_id=pod.pk,
        state=pod.status,
        hourly_usd=pod.hourly_usd,
        age=pod.age(now),
        idle_for=idle,
        in_flight=None if said is None else said.in_flight,
        items_per_second=None if said is None else said.rate,
        gpu_type=pod.gpu_type,
        account_id=pod.account_id,
    )


def _proven(fleet: Fleet, pods: Sequence[Pod], beats: dict[int, Beat]) -> bool:
    """Whether the fleet's template has acknowledged an item, now or before; remembers it."""
    wanted = template_hash(fleet)
    if fleet.proven_template == wanted:
        return True
    if any(
        p.template_hash == wanted and (p.done or (p.pk in beats and beats[p.pk].said.done))
        for p in pods
    ):
        Fleet.objects.filter(pk=fleet.pk).update(proven_template=wanted)
        return True
    return False


def _boot_time(fleet: Fleet) -> timedelta | None:
    boots = [
        (ready - requested).total_seconds()
        for ready, requested in Pod.objects.filter(fleet=fleet, ready_at__isnull=False)
        .order_by("-requested_at")
        .values_list("ready_at", "requested_at")[:BOOTS_MEASURED]
        if ready is not None
    ]
    return timedelta(seconds=median(boots)) if boots else None


def _elsewhere(fleet: Fleet, limits: Limits, now: datetime) -> Elsewhere:
    if limits.max_instances is limits.max_hourly_usd is limits.daily_budget_usd is None:
        return Elsewhere()
    others = Pod.objects.billable().exclude(fleet=fleet)
    prices = list(others.values_list("hourly_usd", flat=True))
    return Elsewhere(
        pods=len(prices),
        hourly_usd=sum(prices, Decimal(0)),
        spent_today_usd=spending.spent(now, besides=fleet.pk).today,
    )
