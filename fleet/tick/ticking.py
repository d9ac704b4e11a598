"""One tick of one fleet: take the lease, gather, decide, write, send on commit."""

import os
import socket
import time
import uuid
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Final

import structlog
from django.db import transaction
from django.db.models import Q

from fleet.decision.decide import decide
from fleet.decision.recording import recorded
from fleet.decision.values import Decision, OfferFacts
from fleet.models import Backlog, Fleet, Lease, Limits, Sample, Tick
from fleet.retention import grain_of
from fleet.tick import gathering
from fleet.tick.gathering import Gathered, template_hash
from pods import dispatch, lifecycle, resuming, teardown
from pods.accounts.connecting import CannotConnect
from pods.base.clock import utcnow
from pods.lifecycle import Overtaken
from pods.machine_names import MachineName
from pods.models import Account, Installation, Pod
from pods.states import READY, REQUESTED

log = structlog.get_logger(__name__)
# Longer than the tick's hard time limit: whoever held it is dead by then.
LEASE: Final = timedelta(seconds=45)
LONGEST_SENTENCE: Final = 600


def tick_fleet(fleet_id: int) -> Decision | None:
    """Decide once on a fleet and write the decision down; None where another tick is at it.

    Safe to run twice, at the same time, or to be killed at any line: what was decided is written in
    one transaction that holds only while the lease's token is still ours.
    """
    began = time.monotonic()
    fleet = Fleet.objects.select_related("schedule__interval").get(pk=fleet_id)
    token = take_lease(fleet)
    if token is None:
        return None
    try:
        gathered = gathering.gather(fleet, utcnow(), renew=True)
        decision = decide(gathered.seen, gathered.policy)
        _write(fleet, token, gathered, decision, began)
    except Overtaken as exc:
        log.warning("tick_overtaken", fleet=fleet.name, because=str(exc))
        return None
    finally:
        Lease.objects.filter(fleet=fleet, token=token).update(until=None)
    _retire(gathered, decision)
    log.info("fleet_ticked", fleet=fleet.name, sentence=decision.sentence)
    return decision


def preview(fleet: Fleet) -> Decision:
    """What the next tick would do; changes nothing."""
    gathered = gathering.gather(fleet, utcnow())
    return decide(gathered.seen, gathered.policy)


def take_lease(fleet: Fleet) -> int | None:
    """The lease's new token, or None while another holds it."""
    now = utcnow()
    seen, _ = Lease.objects.get_or_create(fleet=fleet)
    # Compared with the token that was read, not read again afterwards: whoever stands still in
    # between would read the token of the tick that took over.
    free = Lease.objects.filter(
        Q(until__isnull=True) | Q(until__lt=now), fleet=fleet, token=seen.token
    )
    token = seen.token + 1
    holder = f"{socket.gethostname()}:{os.getpid()}"[:100]
    return token if free.update(holder=holder, token=token, until=now + LEASE) else None


def _write(fleet: Fleet, token: int, gathered: Gathered, decision: Decision, began: float) -> None:
    """The decision's row and a REQUESTED row for each new pod, together.

    Raises:
        Overtaken: the lease is another's by now, or a pod has appeared that was not counted.
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
            binding=decision.binding,
            sentence=decision.sentence[:LONGEST_SENTENCE],
            steps=[asdict(step) for step in decision.steps],
            snapshot=recorded(seen),
            milliseconds=int((time.monotonic() - began) * 1000),
        )
        _sample(fleet, gathered)
        _request(fleet, decision.spawn, because=decision.sentence)
        for again in decision.resume:
            pod = gathered.pods[again.pod_id]
            resuming.begin_resume(pod, by="tick", because=again.because)


def _still_asked_for(fleet: Fleet, gathered: Gathered) -> None:
    """Make sure that no guardrail was edited since this tick read them, however long ago that was.

    Raises:
        Overtaken: one was; the next tick decides by it.
    """
    # An update: who edits at this moment waits for our commit, and the next tick obeys.
    same = Fleet.objects.filter(pk=fleet.pk, version=fleet.version).update(version=fleet.version)
    policy = gathering.policy_of(fleet, Limits.get(), gathered.seen.now)
    if not same or policy != gathered.policy:
        raise Overtaken("a guardrail was edited while this tick decided")


def _sample(fleet: Fleet, gathered: Gathered) -> None:
    """One row for the charts, with the grain that it has among the ones before it."""
    seen = gathered.seen
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
    )


def _oldest_seconds(gathered: Gathered) -> float | None:
    oldest = gathered.depth.oldest_age if gathered.depth else None
    return None if oldest is None else oldest.total_seconds()


def _request(fleet: Fleet, offers: Sequence[OfferFacts], *, because: str) -> None:
    """Write ahead a row for each new pod; its spawn goes out when the transaction commits."""
    accounts = Account.objects.in_bulk({offer.account_id for offer in offers})
    slug = Installation.own().slug if offers else ""
    for offer in offers:
        name = MachineName(slug=slug, fleet_id=fleet.pk, token=uuid.uuid4())
        pod = new_pod(fleet, accounts[offer.account_id], offer, name)
        lifecycle.insert(pod, by="tick", because=because)
        dispatch.send(dispatch.SPAWN, pod.pk)


def new_pod(fleet: Fleet, account: Account, offer: OfferFacts, name: MachineName) -> Pod:
    """The row of a pod that is requested: everything that its life needs is copied onto it."""
    assert name.token is not None
    return Pod(
        fleet=fleet,
        account=account,
        provider=account.provider,
        client_token=name.token,
        name=str(name),
        tag=name.tag,
        state=REQUESTED.value,
        offer_key=offer.key,
        gpu_type=offer.gpu_type,
        gpu_count=offer.gpu_count,
        region=offer.region,
        host=offer.host,
        interruptible=offer.interruptible,
        hourly_usd=offer.hourly_usd,
        stopped_hourly_usd=offer.stopped_hourly_usd,
        image=fleet.image,
        template_hash=template_hash(fleet),
        disk_gb=fleet.disk_gb,
        handler_env=fleet.handler_env,
        # A Celery broker is its app's own business: the agent beats at the installation's Redis.
        redis_url=fleet.backlog_url if fleet.backlog == Backlog.REDIS_STREAM else "",
        boot_seconds=fleet.boot_seconds,
        silent_seconds=fleet.silent_seconds,
        drain_seconds=fleet.drain_seconds,
        requested_at=utcnow(),
        agent=agent_settings(fleet),
    )


def agent_settings(fleet: Fleet) -> dict[str, str | int | float]:
    """What the fleet tells its agents: AgentSettings but for what is the pod's own."""
    return {
        "fleet": fleet.name,
        "stream": fleet.stream,
        "group": fleet.group,
        "handler": fleet.handler,
        "celery_app": "" if fleet.backlog == Backlog.REDIS_STREAM else fleet.handler,
        "results": fleet.results,
        "reply_to": fleet.reply_to,
        "longest_results": fleet.longest_results,
        "batch_size": fleet.batch_size,
        "target_batch_seconds": fleet.target_batch_seconds,
        "max_deliveries": fleet.max_deliveries,
        "claim_idle_seconds": fleet.claim_idle_seconds,
        "heartbeat_seconds": fleet.heartbeat_seconds,
        "orphan_seconds": fleet.orphan_seconds,
        "drain_seconds": fleet.drain_seconds,
        "notice_seconds": fleet.notice_seconds,
        "handler_timeout_seconds": fleet.handler_timeout_seconds,
    }


def _retire(gathered: Gathered, decision: Decision) -> None:
    """Begin the end of each pod that the decision retires; one that moved meanwhile waits a tick."""
    for leaving in decision.retire:
        pod, because = gathered.pods[leaving.pod_id], f"{leaving.rule}: {leaving.because}"
        try:
            if not (leaving.stop and _stopped(pod, because)):
                teardown.retire_pod(pod, by="tick", because=because)
        except Overtaken:
            continue


def _stopped(pod: Pod, because: str) -> bool:
    """Whether its disk is kept: not where its provider cannot do that, or cannot be reached at all.

    Raises:
        Overtaken: the row changed since it was read.
    """
    try:
        return teardown.stop_pod(pod, by="tick", because=because)
    except (teardown.CannotStop, CannotConnect):
        return False
