"""One tick of one fleet: take the lease, gather, decide, write, send on commit."""

import os
import socket
import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.db import transaction
from django.db.models import F, Q

from fleet.code import channel as code
from fleet.decision.alerts import CEILINGS
from fleet.decision.decide import decide
from fleet.decision.usage import use_of
from fleet.decision.values import Caps, Decision, Policy, Snapshot
from fleet.models import Fleet, Lease, Limits, Sample, Tick
from fleet.retention import grain_of
from fleet.secrets import channel
from fleet.tick import archiving, gathering, measures, requesting, rows, samples
from fleet.tick.gathering import Gathered
from fleet.tick.policies import policy_of
from fleet.tick.recording import recorded, recorded_policy
from pods import resuming, teardown
from pods.accounts.connecting import CannotConnect
from pods.base import counters
from pods.base.shared_clock import shared_now
from pods.lifecycle import Overtaken
from pods.models import Account, Pod
from pods.rules import PodRule
from pods.states import READY

log = structlog.get_logger(__name__)
# Longer than the tick's hard time limit: the holder has been killed by then.
LEASE: Final = timedelta(seconds=45)
LONGEST_SENTENCE: Final = 600


def tick_fleet(fleet_id: int) -> Decision | None:
    """Decide once on a fleet and record the decision; None if another tick holds the lease.

    None also for an archived fleet. A fleet that an operator wants archived is archived here when its
    last pod has ended.

    It is safe to run this twice, to run it at the same time, and to kill it at any line. One
    transaction writes the whole decision, and only if the lease's token is still ours.
    """
    began = time.monotonic()
    with_rows = Fleet.objects.select_related("schedule__interval", "sample_run")
    fleet = with_rows.get(pk=fleet_id)
    now = shared_now()
    if fleet.archived_at is not None or (token := take_lease(fleet, now=now)) is None:
        return None
    try:
        gathered = samples.watch(fleet, gathering.gather(fleet, now, renew=True))
        channel.keep_if_possible(fleet, gathered.pods.values())  # before a pod is asked for
        code.keep_if_possible(fleet, gathered.pods.values())
        gathering.remember_proven(fleet, gathered)
        gathering.remember_dead(fleet, gathered)
        rows.remember_rows(fleet, gathered.depth, gathered.seen, gathered.policy)
        measures.remember_bottlenecks(gathered.pods, gathered.seen.pods)
        decision = decide(gathered.seen, gathered.policy)
        _write(fleet, token, gathered, decision, began)
    except Overtaken as exc:
        log.warning("tick_overtaken", fleet=fleet.name, because=str(exc))
        return None
    finally:
        Lease.objects.filter(fleet=fleet, token=token).update(until=None)
    counters.count("decisions", str(fleet.pk), decision.binding or "")
    _retire(gathered, decision)
    log.info("fleet_ticked", fleet=fleet.name, sentence=decision.sentence)
    _archive(fleet)
    return decision


def _archive(fleet: Fleet) -> None:
    """Archive the fleet if an operator wants that and its last pod has ended."""
    if not fleet.archive_when_empty:
        return
    try:
        if archiving.archive_if_empty(fleet, by="the tick after its last pod"):
            log.info("fleet_archived", fleet=fleet.name)
    except Overtaken as exc:
        log.info("fleet_not_archived", fleet=fleet.name, because=str(exc))


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview:
    """What the next tick would do, and what it would see."""

    seen: Snapshot
    policy: Policy
    decision: Decision
    note: str = ""  # for people: how the depth was found


def preview(fleet: Fleet) -> Decision:
    """What the next tick would do; changes nothing."""
    return foresee(fleet).decision


def foresee(
    fleet: Fleet,
    *,
    accounts: Collection[Account] | None = None,
    unread_because: str = "",
    made_by_saving: bool = False,
) -> Preview:
    """What the next tick would do and see; changes nothing.

    The fleet may have values that are not saved. One without a row has the id 0, which no row has.
    `accounts`, `unread_because` and `made_by_saving`: as in `gathering.gather`.
    """
    gathered = gathering.gather(
        fleet, shared_now(), accounts=accounts, unread_because=unread_because,
        made_by_saving=made_by_saving,
    )  # fmt: skip
    decision = decide(gathered.seen, gathered.policy)
    note = gathered.depth.note if gathered.depth else ""
    return Preview(seen=gathered.seen, policy=gathered.policy, decision=decision, note=note)


def take_lease(fleet: Fleet, *, now: datetime | None = None) -> int | None:
    """Take the lease and return its new token; None while another tick holds it."""
    now = now or shared_now()
    seen, _ = Lease.objects.get_or_create(fleet=fleet)
    # The update compares with the token that was read. If the token were read after the update, a
    # tick that stands still in between would read the token of the tick that took over.
    free = Lease.objects.filter(
        Q(until__isnull=True) | Q(until__lt=now), fleet=fleet, token=seen.token
    )
    token = seen.token + 1
    holder = f"{socket.gethostname()}:{os.getpid()}"[:100]
    return token if free.update(holder=holder, token=token, until=now + LEASE) else None


def _write(fleet: Fleet, token: int, gathered: Gathered, decision: Decision, began: float) -> None:
    """Write the decision's row and a REQUESTED row for each new pod, in one transaction.

    Raises:
        Overtaken: another tick has taken the lease, or a pod appeared that was not counted.
    """
    seen = gathered.seen
    with transaction.atomic():
        held = Lease.objects.filter(fleet=fleet, token=token).update(holder="")
        if not held:
            raise Overtaken("the lease was taken over while this tick was slow")
        if decision.spawn or decision.resume:
            _still_asked_for(fleet, gathered)
            counted = {p.pod_id for p in seen.pods}
            now_there = Pod.objects.filter(fleet=fleet).billable().values_list("pk", flat=True)
            if set(now_there) - counted:
                raise Overtaken("a pod appeared that this decision had not counted")
            _still_fits(fleet, gathered)
        Tick.objects.create(
            fleet=fleet,
            at=seen.now,
            token=token,
            depth=seen.depth,
            pending=seen.pending,
            oldest_seconds=_oldest_seconds(gathered),
            active=decision.active,
            ready=sum(p.state is READY for p in seen.pods),
            desired=decision.desired,
            target=decision.target,
            spawned=len(decision.spawn),
            retired=len(decision.retire),
            items_per_second=seen.items_per_second,
            hourly_usd=seen.hourly_usd,
            spent_today_usd=seen.spent_today_usd,
            binding=decision.binding or "",
            sentence=decision.sentence[:LONGEST_SENTENCE],
            **_what_holds(seen, decision),
            steps=[asdict(step) for step in decision.steps],
            **_replayable(gathered),
            milliseconds=int((time.monotonic() - began) * 1000),
        )
        _sample(fleet, gathered)
        requesting.request_pods(fleet, decision.spawn, because=decision.sentence)
        for again in decision.resume:
            pod = gathered.pods[again.pod_id]
            resuming.begin_resume(pod, by="tick", because=again.because)


def _replayable(gathered: Gathered) -> dict[str, Any]:
    """All that `decide` was given, in the columns from which it can be asked again."""
    return {"snapshot": recorded(gathered.seen), "policy": recorded_policy(gathered.policy)}


def _what_holds(seen: Snapshot, decision: Decision) -> dict[str, Any]:
    """Why there are not more pods and how much these work, in the columns of pages and alerts."""
    unknown = decision.depth is None
    held_back = decision.steps[0].because if unknown else decision.because
    return {
        "held_back": held_back[:LONGEST_SENTENCE],
        "failing": seen.failing.count if seen.failing else 0,
        "trouble": decision.trouble[:LONGEST_SENTENCE],
        "all_fail": seen.all_fail,
        "all_fail_because": seen.all_fail_because[:LONGEST_SENTENCE],
        "risk": decision.risk[:LONGEST_SENTENCE],
        "ceiling": not CEILINGS.isdisjoint(decision.holding),
        **_use(seen),
    }


def _use(seen: Snapshot) -> dict[str, Any]:
    """How much the ready pods work, and what holds them back."""
    use = use_of(seen)
    if use is None:
        return {}
    return {
        "busy_percent": use.busy_percent,
        "gpu_percent": use.gpu_percent,
        "bottleneck": use.bottleneck.value,
    }


def _still_asked_for(fleet: Fleet, gathered: Gathered) -> None:
    """Make sure that no guardrail was edited since this tick read them.

    Raises:
        Overtaken: one was edited; the next tick decides with the new value.
    """
    # This is an update, so an edit at this moment waits for our commit and counts for the next tick.
    same = Fleet.objects.filter(pk=fleet.pk, version=fleet.version).update(version=fleet.version)
    policy = policy_of(fleet, Limits.get(), gathered.seen.now)
    if not same or policy != gathered.policy:
        raise Overtaken("a guardrail was edited while this tick decided")


def _still_fits(fleet: Fleet, gathered: Gathered) -> None:
    """Make sure that no other fleet took what this decision starts, if the installation has a limit.

    Raises:
        Overtaken: one did; the next tick counts it.
    """
    if gathered.policy.installation == Caps():
        return
    ours = Limits.objects.filter(version=gathered.limits_version).update(version=F("version") + 1)
    counted = gathered.seen.elsewhere
    there = gathering.elsewhere(fleet, Limits.get(), gathered.seen.now)
    if not ours or there.pods > counted.pods or there.hourly_usd > counted.hourly_usd:
        raise Overtaken("another fleet started pods while this tick decided")


def _sample(fleet: Fleet, gathered: Gathered) -> None:
    """Write one row for the charts, with its grain among the rows before it."""
    seen = gathered.seen
    use = use_of(seen)
    Sample.objects.create(
        fleet=fleet,
        at=seen.now,
        grain=grain_of(seen.now, gathered.last_tick_at),
        depth=seen.depth,
        pods=seen.billable,
        ready=sum(p.state is READY for p in seen.pods),
        items_per_second=seen.items_per_second,
        hourly_usd=seen.hourly_usd,
        spent_today_usd=seen.spent_today_usd,
        busy_percent=use.busy_percent if use else None,
        gpu_percent=use.gpu_percent if use else None,
    )


def _oldest_seconds(gathered: Gathered) -> float | None:
    oldest = gathered.depth.oldest_age if gathered.depth else None
    return None if oldest is None else oldest.total_seconds()


def _retire(gathered: Gathered, decision: Decision) -> None:
    """Retire the pods that the decision names; a pod that moved meanwhile waits for the next tick."""
    for leaving in decision.retire:
        pod, rule, because = gathered.pods[leaving.pod_id], leaving.rule, leaving.because
        try:
            if not (leaving.stop and _stopped(pod, rule, because)):
                teardown.retire_pod(pod, by="tick", rule=rule, because=because)
        except Overtaken:
            continue


def _stopped(pod: Pod, rule: PodRule, because: str) -> bool:
    """Stop a pod that keeps its disk; False if its provider cannot stop pods or cannot be reached.

    Raises:
        Overtaken: the row changed since it was read.
    """
    try:
        return teardown.stop_pod(pod, by="tick", rule=rule, because=because)
    except (teardown.CannotStop, CannotConnect):
        return False
