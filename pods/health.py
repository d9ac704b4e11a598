"""The health of pods: a sweep per account finds unhealthy pods, a check per pod acts."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import structlog
from django.db import DataError, IntegrityError, transaction

from pods import dispatch, lifecycle
from pods.accounts import breaker, connecting, machine_logs, registry_logins
from pods.accounts.connecting import CannotConnect, Connect
from pods.agent.protocol import LARGEST_COUNT, Heartbeat
from pods.agent_redis import heartbeats
from pods.agent_redis.heartbeats import HeartbeatsUnknown, Readings
from pods.base import counters
from pods.base.shared_clock import shared_now
from pods.costs import segments
from pods.diagnosis import INFERRED, Finding, MachineSays, diagnose
from pods.masking import without_passwords
from pods.models import Account, Correction, Installation, Pod, PodEvent
from pods.providers.base import Capabilities, Machine, Phase, Provider
from pods.providers.errors import NotFound, ProviderError
from pods.rules import INFERRED_RULES, PodRule
from pods.sightings import (
    Sighting,
    all_fail,
    believed_rate,
    facts_of,
    is_loading,
    lacks,
    measures_of,
    sighting,
)
from pods.states import BOOTING, DRAINING, LOST, READY, STOPPED, TERMINATING

WATCHED: Final = (BOOTING, READY, STOPPED)
# S15: at most this share of a fleet's pods (but always one) is ended on inference in a window.
INFERRED_SHARE: Final = 0.34
INFERRED_WINDOW: Final = timedelta(minutes=10)
# After a longer gap without sweeps the manager itself was away (a laptop that slept).
LONGEST_SWEEP_GAP: Final = timedelta(minutes=5)
# A pod that boots fast should not wait for the next sweep to count as READY.
FIRST_LOOKS: Final = timedelta(seconds=30)
LOOK_EVERY: Final = timedelta(seconds=2)
# Then a booting pod is looked at by itself at these ages: only its own status may say that its image
# is refused, and vendors count calls.
LATER_LOOKS: Final = tuple(timedelta(seconds=s) for s in (30, 60, 120, 240, 480))
COUNTED: Final = ("done", "failed", "dead", "held_ms")
FINISHED: Final = (
    *("beat_at", *COUNTED, *(f"{name}_before" for name in COUNTED), "agent_uptime_ms"),
)
SEEN: Final = ("heard_since", *FINISHED, "rate", "idle_since", "note", "measures")
# A heartbeat that was read twice has two slightly different times: the clocks of two hosts set them.
SAME_BEAT: Final = timedelta(seconds=1)

# A value that the database does not take. That it does not answer is not a fault of one pod.
UNWRITABLE: Final = (DataError, IntegrityError, ValueError, ArithmeticError)

log = structlog.get_logger(__name__)


def sweep_account(account: Account, *, connect: Connect = connecting.connect) -> int:
    """Look at all pods of an account with one list and one read of heartbeats.

    Store what was seen, and send a check for each pod that looks unhealthy; return how many. A pod
    that boots is checked at a few ages too.
    A list that fails says nothing about any machine.
    """
    pods = list(
        Pod.objects.filter(account=account, state__in=[s.value for s in WATCHED])
        .exclude(external_id=None)
        .order_by("pk")
    )
    now = shared_now()
    away = account.swept_at is not None and now - account.swept_at > LONGEST_SWEEP_GAP
    Account.objects.filter(pk=account.pk).update(swept_at=now)
    if not pods:
        return 0
    machines, capabilities = _list(account, connect)
    readings = _read(pods)
    ill, booked, now = 0, segments.open_prices(pods), shared_now()
    for pod in pods:
        machine = None if machines is None else machines.get(str(pod.external_id))
        seen = sighting(pod, machine, readings, asked=machines is not None, at=now)
        _hear(pod, seen, away=away)
        _see(pod, seen)
        with _apart(pod):
            _follow_price(pod, machine, booked.get(pod.pk))
        others = all_fail(seen) and _others_succeed(pod)
        facts = facts_of(pod, seen, capabilities, others_succeed=others)
        if diagnose(facts) is not Finding.HEALTHY:
            dispatch.send(dispatch.CHECK, pod.pk)
            ill += 1
        elif pod.status is BOOTING and is_due(pod.state_since, account.swept_at, now):
            dispatch.send(dispatch.CHECK, pod.pk)
    _write_seen(pods)
    if machines is not None:
        _remember_absence(pods, now)
    return ill


def is_due(since: datetime, swept_at: datetime | None, now: datetime) -> bool:
    """Whether a later look at a pod that boots since then is due, that the sweep before did not do."""
    after = since if swept_at is None else swept_at
    return any(after < since + look <= now for look in LATER_LOOKS)


@contextmanager
def _apart(pod: Pod) -> Iterator[None]:
    """Log what cannot be stored of one pod, and continue with the others."""
    try:
        yield
    except UNWRITABLE as exc:
        log.error("pod_not_swept", pod=pod.pk, error=type(exc).__name__, because=str(exc)[:300])


def _write_seen(pods: Sequence[Pod]) -> None:
    """Store what was seen in one statement; pod by pod if the database refuses a value of one."""
    try:
        with transaction.atomic():
            Pod.objects.bulk_update(pods, SEEN, batch_size=200)
    except UNWRITABLE:
        for pod in pods:
            with _apart(pod), transaction.atomic():
                pod.save(update_fields=SEEN)


def _remember_absence(pods: Sequence[Pod], now: datetime) -> None:
    """Store since when pods are missing from the list; for a pod that is ending, its end stores it."""
    watched = Pod.objects.filter(state__in=[s.value for s in WATCHED])
    here = [p.pk for p in pods if p.absent_since is None]
    watched.filter(pk__in=here).exclude(absent_since=None).update(absent_since=None)
    absent = [p.pk for p in pods if p.absent_since is not None]
    watched.filter(pk__in=absent, absent_since=None).update(absent_since=now)


def check_pod(pod_id: int, *, connect: Connect = connecting.connect) -> None:
    """Check one pod that looked ill again, with the provider's own status, and act.

    Safe to run twice, at the same time, or to be killed at any line.
    """
    with lifecycle.claimed(pod_id) as pod:
        if pod is None or pod.status not in WATCHED:
            return
        assert pod.external_id is not None
        try:
            provider = connect(pod.account)
            machine = _status(provider, pod.external_id)
        except (CannotConnect, ProviderError) as exc:
            breaker.failed(pod.account, exc)
            return
        seen = sighting(pod, machine, _read([pod]), asked=True, at=shared_now())
        if seen.says is not MachineSays.ABSENT and pod.absent_since is not None:
            pod.absent_since = None
            Pod.objects.filter(pk=pod.pk).update(absent_since=None)
        others = all_fail(seen) and _others_succeed(pod)
        facts = facts_of(pod, seen, provider.capabilities, others_succeed=others)
        finding, output = diagnose(facts), ""
        if finding is Finding.NEVER_BOOTED and is_loading(pod, seen):
            output = machine_logs.last_line(pod, connect=connect)
        _act(pod, finding, seen, provider.capabilities, output)


def _act(
    pod: Pod, finding: Finding, seen: Sighting, capabilities: Capabilities, output: str
) -> None:
    if finding is Finding.HEALTHY:
        if pod.status is BOOTING and seen.at - pod.state_since < FIRST_LOOKS:
            dispatch.send(dispatch.CHECK, pod.pk, countdown=LOOK_EVERY.total_seconds())
        return
    if finding is Finding.REGISTERED:
        first = pod.ready_at is None  # not after a stop
        lifecycle.move(
            pod,
            READY,
            by="health",
            because="its agent sends heartbeats" if seen.beat else "its consumer reads the backlog",
            ready_at=pod.ready_at or seen.at,
        )
        if first and pod.booted_at is not None:
            counters.took("boot", (seen.at - pod.booted_at).total_seconds(), pod.provider)
        return
    because = _why(finding, pod, seen, output)
    if finding in INFERRED and not may_end_ill(pod.fleet_id, peers=_peers(pod), now=seen.at):
        lifecycle.postpone(
            pod,
            by=INFERRED_WINDOW,
            because=f"not ended yet, because a pod like it was ended a short time ago: {because}",
        )
        return
    if finding is Finding.ABSENT:
        _end_absent(pod, because, capabilities, _at_the_end(pod, seen))
        return
    lost = finding in {Finding.STOPPED_UNASKED, Finding.MACHINE_FAILED}
    changes: dict[str, Any] = {"lost_because": because[:500]} if lost else {}
    lifecycle.move(
        pod,
        TERMINATING,
        by="health",
        rule=PodRule(finding.value),
        because=because,
        retire_because=because[:500],
        **changes,
        **_at_the_end(pod, seen),
    )
    dispatch.send(dispatch.TEARDOWN, pod.pk)


def _at_the_end(pod: Pod, seen: Sighting) -> dict[str, Any]:
    """What to keep of a pod that has failed: when, what its agent said, and what it had finished.

    The last sweep may have been before its first item.
    """
    facts: dict[str, Any] = {"failed_at": seen.at}
    if seen.beat is not None:
        _see(pod, seen)
        facts |= {name: getattr(pod, name) for name in FINISHED}
        facts["last_note"] = pod.note
    return facts


def _end_absent(
    pod: Pod, because: str, capabilities: Capabilities, at_the_end: dict[str, Any]
) -> None:
    """End a missing pod: it billed until it was first missing. If it can come back, destroy it."""
    to, facts = LOST, {**at_the_end, "lost_because": because[:500]}
    if capabilities.comes_back:
        to, facts["retire_because"] = TERMINATING, because[:500]
    assert pod.absent_since is not None
    with transaction.atomic():
        segments.close(
            pod, at=pod.absent_since, now=shared_now(), why=Correction.Why.MISSING_EARLIER
        )
        lifecycle.move(pod, to, by="health", rule=PodRule.ABSENT, because=because, **facts)
    if to is TERMINATING:
        dispatch.send(dispatch.TEARDOWN, pod.pk)


def _why(finding: Finding, pod: Pod, seen: Sighting, output: str = "") -> str:
    said = seen.beat.said.note if seen.beat else ""
    details = {
        Finding.NEVER_BOOTED: _never_booted(pod, seen, output),
        Finding.AGENT_FAILED: said,
        Finding.AGENT_ENDED: said,
        Finding.SILENT: f"no sign of life for {pod.silent_seconds} s",
        Finding.HUNG: "has items in hand and acknowledges none",
        Finding.NOT_AS_ORDERED: lacks(pod, seen.machine),
        Finding.FAILING: said,
    }
    detail = details.get(finding, "")
    if not detail and seen.machine is not None:
        detail = seen.machine.because or seen.machine.raw_status
        if seen.machine.login_refused:
            detail = f"{registry_logins.refused(pod.account, pod.image)}: {detail}"
    words = finding.value.replace("_", " ")
    return f"{words}: {detail}" if detail else words


def _never_booted(pod: Pod, seen: Sighting, output: str) -> str:
    """`output`: the last line of the machine, if its agent runs and waits for its handler."""
    if not is_loading(pod, seen):
        return f"no sign of its agent within {pod.boot_seconds} s"
    last = f"; its last output: {output}" if output else ""
    return f"its agent runs, and its handler did not load within {pod.boot_seconds} s{last}"


def _others_succeed(pod: Pod) -> bool:
    """Whether other pods of its fleet finish items now. One query, only for a pod that fails all."""
    others = Pod.objects.filter(fleet_id=pod.fleet_id, state=READY.value).exclude(pk=pod.pk)
    return others.filter(rate__gt=0).exists()


def _peers(pod: Pod) -> int:
    running = [READY.value, BOOTING.value]
    return Pod.objects.filter(fleet_id=pod.fleet_id, state__in=running).count()


def may_end_ill(fleet_id: int, *, peers: int, now: datetime) -> bool:
    """Whether one more pod of the fleet may be ended on inference within the window (S15).

    `peers`: the number of its pods that are BOOTING or READY. One query.
    """
    inferred = PodEvent.objects.filter(
        pod__fleet_id=fleet_id,
        at__gt=now - INFERRED_WINDOW,
        after__in=[TERMINATING.value, DRAINING.value],
        rule__in=[rule.value for rule in INFERRED_RULES],
    ).count()
    return inferred < max(1, int((peers + inferred) * INFERRED_SHARE))


def _list(account: Account, connect: Connect) -> tuple[Mapping[str, Machine] | None, Capabilities]:
    """The account's machines by id, None if they cannot be listed; and the capabilities."""
    try:
        provider = connect(account)
    except CannotConnect as exc:
        breaker.failed(account, exc)
        return None, Capabilities()
    try:
        machines = provider.list_tagged(Installation.tag())
    except ProviderError as exc:
        breaker.failed(account, exc)
        return None, provider.capabilities
    breaker.answered(account)
    return {m.external_id: m for m in machines}, provider.capabilities


def _read(pods: Sequence[Pod]) -> Readings | None:
    try:
        return heartbeats.read(pods, consumers=True, renew=True)
    except HeartbeatsUnknown:
        return None


def _status(provider: Provider, external_id: str) -> Machine | None:
    try:
        return provider.status(external_id)
    except NotFound:
        return None


def _hear(pod: Pod, seen: Sighting, *, away: bool) -> None:
    """Set since when the pod's Redis can be read without a break."""
    if seen.remembers is None:
        pod.heard_since = None
    elif away or pod.heard_since is None:
        pod.heard_since = seen.at


def _see(pod: Pod, seen: Sighting) -> None:
    """Store what was seen in the row's facts."""
    if seen.says is MachineSays.ABSENT:
        pod.absent_since = pod.absent_since or seen.at
    elif seen.asked:
        pod.absent_since = None
    if seen.beat is not None:
        said, beat_at = seen.beat.said, seen.at - seen.beat.age
        rate = believed_rate(pod, seen.beat, at=seen.at)  # before the counts of the former look go
        # An older one is from old data of its Redis. A time in the future is of a clock that was ahead.
        if pod.beat_at is None or not beat_at + SAME_BEAT < pod.beat_at <= seen.at:
            _count(pod, said)
            pod.beat_at = beat_at
        pod.rate = rate
        pod.note = without_passwords(said.note)[:500]
        idle = timedelta(milliseconds=said.idle_ms)
        pod.idle_since = beat_at - idle if said.idle_ms else None
        pod.measures = measures_of(said)


def _count(pod: Pod, said: Heartbeat) -> None:
    """Add what the agent counted to what the agents before it counted on the same machine.

    An agent that restarts in place counts from 0 again, and its uptime begins again too.
    """
    said_last = {name: getattr(pod, name) - getattr(pod, f"{name}_before") for name in COUNTED}
    restarted = said.uptime_ms < pod.agent_uptime_ms or any(
        getattr(said, name) < last for name, last in said_last.items()
    )
    for name in COUNTED:
        if restarted:
            setattr(pod, f"{name}_before", getattr(pod, name))
        total = getattr(pod, f"{name}_before") + getattr(said, name)
        setattr(pod, name, min(total, LARGEST_COUNT))
    pod.agent_uptime_ms = said.uptime_ms


def _follow_price(pod: Pod, machine: Machine | None, booked_usd: Decimal | None) -> None:
    """Book a price that the vendor changed; a ledger that differs from the row is mended too."""
    if machine is None or machine.phase is not Phase.RUNNING or machine.hourly_usd is None:
        return
    if pod.status in {BOOTING, READY}:
        lifecycle.follow_price(pod, hourly_usd=machine.hourly_usd, booked_usd=booked_usd)
