"""Gathers the facts for one decision: rows, one probe, one read of the heartbeats."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal
from statistics import median
from typing import Any

import structlog
from django.conf import settings
from django.db.models import Count, QuerySet, Sum

from fleet.backlog import probes
from fleet.backlog.base import BacklogUnknown, Depth, NoStream
from fleet.decision.brakes import LONGEST_REASON
from fleet.decision.placement import Experience
from fleet.decision.values import Elsewhere, Goal, PodFacts, Policy, Snapshot
from fleet.models import Fleet, Limits, Tick
from fleet.money import spending
from fleet.tick import aims, rows
from fleet.tick.aims import PastTick
from fleet.tick.failing import failing_of
from fleet.tick.market import Supply, experience, offers_for
from fleet.tick.measures import facts_of_use, items_wait
from fleet.tick.policies import policy_of
from fleet.tick.requesting import template_hash
from pods import health
from pods.accounts import breaker
from pods.agent_redis import heartbeats
from pods.agent_redis.heartbeats import Beat, Consumer, HeartbeatsUnknown
from pods.catalogue import gpus
from pods.masking import without_passwords
from pods.models import Account, Orphan, Pod
from pods.price import usd_per_million
from pods.sightings import fails_all, rate_now
from pods.states import ACTIVE, BOOTING, READY, STOPPED

log = structlog.get_logger(__name__)

NO_STREAM_YET = "the stream does not exist yet"
BOOTS_MEASURED = 20
TICKS_READ = 60  # a quarter of an hour at the default period


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """A snapshot and the rows behind it."""

    seen: Snapshot
    policy: Policy
    pods: dict[int, Pod]
    depth: Depth | None
    last_tick_at: datetime | None
    limits_version: int  # of the installation's limits: each tick that starts pods raises it
    finished: Mapping[int, int] = field(default_factory=dict)  # items by pod, by the heartbeats


def gather(
    fleet: Fleet,
    now: datetime,
    *,
    renew: bool = False,
    accounts: Collection[Account] | None = None,
    unread_because: str = "",
    made_by_saving: bool = False,
) -> Gathered:
    """The snapshot of a fleet and its policy. The number of queries and round trips is fixed.

    `renew` also tells the agents that a manager lives. A tick renews; a preview does not.
    `accounts`: instead of those of its row. `unread_because`: the backlog is not read, and why.
    `made_by_saving`: as in `measure`.
    """
    depth, unknown_because = _depth(fleet, unread_because, made_by_saving=made_by_saving)
    pods = _billable_pods(fleet)
    beats, heard = _beats(pods, renew=renew)
    _take_notes(pods, beats)
    limits, policy = _limits_and_policy(fleet, now)
    plain = _plain_consumers(pods, beats) if heard else {}
    working = _working(beats, plain)
    known = experience(fleet, now, pods, working)
    supply = offers_for(fleet, now, known, accounts=accounts)
    spent, ticks = spending.spent(now, fleet_id=fleet.pk), _last_ticks(fleet, now)
    facts = _facts(fleet, pods, beats, plain, known, depth, now)
    seen = Snapshot(
        now=now,
        **rows.of_the_backlog(fleet, depth),
        unknown_because=unknown_because,
        pods=_with_trials(fleet, facts, pods, working),
        **_of_orphans(fleet),
        offers=supply.offers,
        **_why_no_offers(supply),
        spent_today_usd=spent.today,
        spent_total_usd=spent.total,
        proven=_proven(fleet, pods, working),
        items_per_second=_rate(facts) if heard else None,
        boot_time=_boot_time(fleet),
        may_end_ill=health.may_end_ill(fleet.pk, peers=_peers(pods), now=now),
        waiting_for=_waiting_for(depth, ticks, now),
        elsewhere=elsewhere(fleet, limits, now),
        **_what_fails(fleet, working, beats),
        **aims.facts_of_goal(fleet, now, facts, ticks, known, of_dataset=fleet.is_dataset),
    )
    return Gathered(
        seen=seen,
        policy=policy,
        pods={p.pk: p for p in pods},
        depth=depth,
        last_tick_at=ticks[0][0] if ticks else None,
        limits_version=limits.version,
        finished={pk: beat.said.done for pk, beat in beats.items()},
    )


def _why_all_fail(beats: Iterable[Beat]) -> str:
    """What the newest heartbeat says of an agent whose tries all fail."""
    failing = [beat for beat in beats if fails_all(beat.said)]
    return min(failing, key=lambda beat: beat.age).said.note[:LONGEST_REASON] if failing else ""


def _what_fails(fleet: Fleet, working: set[int], beats: dict[int, Beat]) -> dict[str, Any]:
    because = _why_all_fail(beats.values())
    return {"failing": failing_of(fleet, working), "all_fail_because": because}


def _of_orphans(fleet: Fleet) -> dict[str, Any]:
    count, hourly_usd = _count(Orphan.objects.filter(fleet_id=fleet.pk))
    return {"orphans": count, "orphans_hourly_usd": hourly_usd}


def _why_no_offers(supply: Supply) -> dict[str, Any]:
    return {"no_offers_because": supply.because, "lacks": supply.lacks}


def _limits_and_policy(fleet: Fleet, now: datetime) -> tuple[Limits, Policy]:
    limits = Limits.get()
    return limits, policy_of(fleet, limits, now)


def _billable_pods(fleet: Fleet) -> list[Pod]:
    there = Pod.objects.filter(fleet=fleet).billable().order_by("pk")
    return list(there.select_related("account").defer("account__offers"))


def _depth(fleet: Fleet, unread_because: str, *, made_by_saving: bool) -> tuple[Depth | None, str]:
    if unread_because:
        return None, unread_because
    return measure(fleet, made_by_saving=made_by_saving)


def measure(fleet: Fleet, *, made_by_saving: bool = False) -> tuple[Depth | None, str]:
    """The depth of the fleet's backlog, or None and why it is unknown.

    `made_by_saving`: the fleet is not saved yet, which makes its stream, so one that the server does
    not have is empty. Of a saved fleet it was deleted or lost, and nobody knows what was in it.
    Whatever fails in a probe, the depth is unknown: a tick that failed would end no pods either.
    """
    try:
        fleet.check_names()  # a fleet that an older version let pass starts no more pods
        probe = probes.build_probe(
            fleet.backlog,
            url=fleet.backlog_url or settings.REDIS_URL,
            name=fleet.stream,
            group=fleet.group,
            **rows.of_dataset(fleet),
        )
        return probe.measure(), ""
    except NoStream as exc:
        if made_by_saving:
            return Depth(waiting=0, pending=0, note=NO_STREAM_YET), ""
        return None, without_passwords(str(exc))
    except (BacklogUnknown, ValueError) as exc:
        return None, without_passwords(str(exc))
    except Exception as exc:
        log.exception("probe_failed", fleet=fleet.name)
        return None, f"the probe failed: {type(exc).__name__}"


def _beats(pods: Sequence[Pod], *, renew: bool) -> tuple[dict[int, Beat], bool]:
    """The pods' heartbeats, and False if Redis did not answer for one of the pods."""
    try:
        readings = heartbeats.read(pods, renew=renew)
    except HeartbeatsUnknown:
        return {}, False
    return dict(readings.beats), not readings.unheard


def _take_notes(pods: Sequence[Pod], beats: Mapping[int, Beat]) -> None:
    """What booting machines say now. Rows have what the last sweep read, and a boot is short."""
    for pod in pods:
        if pod.status is BOOTING and pod.pk in beats:
            pod.note = without_passwords(beats[pod.pk].said.note)[:500]


def _plain_consumers(pods: Sequence[Pod], beats: dict[int, Beat]) -> dict[int, Consumer]:
    """The consumers of READY pods without a heartbeat: users' own consumers, named like their pod."""
    silent = [p for p in pods if p.status is READY and p.pk not in beats]
    try:
        return dict(heartbeats.read(silent, consumers=True).consumers)
    except HeartbeatsUnknown:
        return {}


def _working(beats: dict[int, Beat], plain: dict[int, Consumer]) -> set[int]:
    """The pods that have acknowledged an item."""
    finished = {pk for pk, c in plain.items() if c.idle is not None and not c.pending}
    return finished | {pk for pk, beat in beats.items() if beat.said.done}


def _with_trials(
    fleet: Fleet, facts: Sequence[PodFacts], pods: Sequence[Pod], working: set[int]
) -> tuple[PodFacts, ...]:
    """The facts, with marks: what is on trial with the present template, and what runs something old.

    That is other code, or another start command. Other images stay until they end by themselves.
    """
    wanted = template_hash(fleet)
    tried = {p.pk for p in pods if p.template_hash == wanted and not p.done and p.pk not in working}
    runs = (fleet.bundle, fleet.start_command)
    old = {p.pk for p in pods if (p.agent.get("bundle", ""), p.start_command) != runs}
    return tuple(replace(f, trial=f.pod_id in tried, outdated=f.pod_id in old) for f in facts)


def _rate(facts: Sequence[PodFacts]) -> float | None:
    """Items/s of all pods together; None while no rate is known."""
    rates = [f.items_per_second for f in facts if f.items_per_second]
    return sum(rates) if rates else None


def _facts(
    fleet: Fleet,
    pods: Sequence[Pod],
    beats: dict[int, Beat],
    plain: dict[int, Consumer],
    known: Experience,
    depth: Depth | None,
    now: datetime,
) -> Sequence[PodFacts]:
    """The facts of each pod. What its items cost is read of stopped pods, and by a goal of all."""
    goal = fleet.goal != Goal.DEMAND.value
    return [
        _pod_facts(p, beats.get(p.pk), plain.get(p.pk), known, depth, now, priced=goal)
        for p in pods
    ]


def _pod_facts(
    pod: Pod,
    beat: Beat | None,
    plain: Consumer | None,
    known: Experience,
    depth: Depth | None,
    now: datetime,
    *,
    priced: bool = False,
) -> PodFacts:
    stopped = pod.status is STOPPED
    if stopped:
        beat = None  # the last heartbeat is out of date
    idle = None
    if beat is not None and beat.said.idle_ms and not beat.said.in_flight:
        idle = timedelta(milliseconds=beat.said.idle_ms) + beat.age
    in_flight = None if beat is None else beat.said.in_flight
    if plain is not None:
        in_flight = plain.pending
        since_ready = now - max(pod.ready_at or pod.requested_at, pod.heard_since or now)
        # a consumer that never got an item has been idle since it was ready, or since we know of it
        idle = None if in_flight else min(plain.idle or since_ready, since_ready)
    return PodFacts(
        pod_id=pod.pk,
        state=pod.status,
        hourly_usd=pod.hourly_usd,
        age=pod.age(now),
        idle_for=idle,
        in_flight=in_flight,
        items_per_second=rate_now(pod, beat, at=now),
        all_fail=None if beat is None else fails_all(beat.said),
        gpu_type=gpus.named(pod.gpu_type),  # older rows have their vendor's name
        gpu_count=pod.gpu_count,
        ready_for=now - pod.state_since if pod.status is READY else None,
        account_id=pod.account_id,
        account_usable=pod.account.enabled and not breaker.is_open(pod.account, now=now),
        stopped_hourly_usd=pod.stopped_hourly_usd,
        stopped_for=now - pod.state_since if stopped else None,
        million_items_usd=usd_per_million(
            pod.hourly_usd, known.speed((gpus.named(pod.gpu_type), pod.gpu_count))
        )
        if stopped or priced
        else None,
        interruptible=pod.interruptible,
        offer_key=pod.offer_key,
        leaving_for=None if stopped or pod.status in ACTIVE else now - pod.state_since,
        **facts_of_use(beat, depth),
    )


def remember_dead(fleet: Fleet, gathered: Gathered) -> None:
    """Note how many dead letters there are, if that is known, for the alert and the pages."""
    dead = None if gathered.depth is None else gathered.depth.dead
    if dead is not None and dead != fleet.dead_letters:
        Fleet.objects.filter(pk=fleet.pk).update(dead_letters=dead)


def _proven(fleet: Fleet, pods: Sequence[Pod], working: set[int]) -> bool:
    """Whether the fleet's template has acknowledged an item; `remember_proven` keeps it."""
    wanted = template_hash(fleet)
    return fleet.proven_template == wanted or any(
        p.template_hash == wanted and (p.done or p.pk in working) for p in pods
    )


def remember_proven(fleet: Fleet, gathered: Gathered) -> None:
    """Keep on the fleet's row that its template has acknowledged an item. Only a tick calls this."""
    wanted = template_hash(fleet)
    if gathered.seen.proven and fleet.proven_template != wanted:
        Fleet.objects.filter(pk=fleet.pk).update(proven_template=wanted)


def _peers(pods: Sequence[Pod]) -> int:
    return sum(p.status in {BOOTING, READY} for p in pods)


def _last_ticks(fleet: Fleet, now: datetime) -> Sequence[PastTick]:
    """The last ticks, newest first."""
    before = Tick.objects.filter(fleet=fleet, at__lt=now).order_by("-at")
    return list(before.values_list("at", "depth", "pending", "items_per_second")[:TICKS_READ])


def _waiting_for(depth: Depth | None, ticks: Sequence[PastTick], now: datetime) -> timedelta | None:
    """For how long each tick has seen items that no pod had taken; None if there may be none."""
    if not items_wait(depth):
        return None
    since = now
    for at, items, pending, _ in ticks:
        if items is None or items <= pending:
            break
        since = at
    return now - since


def _boot_time(fleet: Fleet) -> timedelta | None:
    """The median time of the last boots, from the request for the machine until the pod was ready.

    A boot does not begin with the row. A spawn that waited, for a lost message or a failing vendor,
    would look like a slow boot, and the tick would then start too few pods.
    """
    boots = [
        (ready - (asked or requested)).total_seconds()
        for ready, asked, requested in Pod.objects.filter(fleet=fleet, ready_at__isnull=False)
        .order_by("-requested_at")
        .values_list("ready_at", "asked_at", "requested_at")[:BOOTS_MEASURED]
        if ready is not None
    ]
    return timedelta(seconds=median(boots)) if boots else None


def elsewhere(fleet: Fleet, limits: Limits, now: datetime) -> Elsewhere:
    """What counts against the installation's limits outside the fleet, machines without a row too."""
    if limits.max_instances is limits.max_hourly_usd is limits.daily_budget_usd is None:
        return Elsewhere()
    others = Pod.objects.billable().exclude(fleet=fleet)
    prices = [
        stopped_usd if state == STOPPED.value else usd
        for state, usd, stopped_usd in others.values_list(
            "state", "hourly_usd", "stopped_hourly_usd"
        )
    ]
    orphans, orphans_hourly_usd = _count(Orphan.objects.exclude(fleet_id=fleet.pk))
    return Elsewhere(
        pods=len(prices) + orphans,
        hourly_usd=sum(prices, orphans_hourly_usd),
        spent_today_usd=spending.spent(now, besides=fleet.pk).today,
    )


def _count(orphans: QuerySet[Orphan]) -> tuple[int, Decimal]:
    """How many of these machines without a row are there, and their USD/hour."""
    found = orphans.filter(gone_at=None).aggregate(n=Count("pk"), usd=Sum("hourly_usd"))
    return found["n"], Decimal(found["usd"] or 0)
