"""The only code that writes a pod's state: it claims a pod, moves it, stores its machine's id."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import structlog
from django.conf import settings
from django.db import IntegrityError, transaction
from django.db.models import F, Q

from pods import dispatch
from pods.amounts import price_change
from pods.base.clock import utcnow
from pods.base.shared_clock import shared_now
from pods.costs import segments
from pods.masking import without_passwords
from pods.models import Pod, PodEvent
from pods.rules import PodRule
from pods.states import ACTIVE, ENDED, IN_TRANSIT, STOPPED, TERMINATING, PodState, may_move

log = structlog.get_logger(__name__)
LONGEST_BECAUSE = 500
TEXTS: Final = frozenset({"because", "retire_because", "lost_because", "note"})


class IllegalMove(Exception):
    """The table of moves does not allow the move."""


class Overtaken(Exception):
    """The row changed since it was read, because another worker acted. Read it and decide again."""


class DuplicateMachine(Exception):
    """The provider returned an id that another row holds (F12)."""


@contextmanager
def claimed(pod_id: int) -> Iterator[Pod | None]:
    """Claim the pod for one verb; None if another worker holds it or it does not exist.

    The claim ends by itself after settings.CLAIM_LEASE, which is longer than a task's hard time limit.
    So a killed worker does not block others for longer. A verb that is overtaken ends quietly: the
    worker that overtook it has acted on a newer row.
    """
    claim = _take(pod_id)
    mine = Pod.objects.select_related("account").filter(pk=pod_id)
    pod = None if claim is None else mine.filter(claim=claim).first()
    if pod is None:
        yield None
        return
    with dispatch.Outbox():
        try:
            yield pod
        except Overtaken as exc:
            log.info("pod_overtaken", pod=pod_id, because=str(exc))
        finally:
            Pod.objects.filter(pk=pod_id, claim=pod.claim).update(claimed_until=None)


def _take(pod_id: int) -> int | None:
    """Claim the pod; return the number of the new claim, None while another claim holds.

    The update compares with the number that was read before it. A number that is read afterwards
    could belong to a newer claim, which took over while this process stood still. Claims are judged
    by the database's clock: this host's may be ahead of that of the host which made the claim.
    """
    now = shared_now()
    free = Pod.objects.filter(Q(claimed_until__isnull=True) | Q(claimed_until__lt=now), pk=pod_id)
    seen = free.values_list("claim", flat=True).first()
    if seen is None:
        return None
    until = now + settings.CLAIM_LEASE
    took = free.filter(claim=seen).update(claim=seen + 1, claimed_until=until)
    return seen + 1 if took else None


def still_claimed(pod: Pod, **changes: Any) -> None:
    """Make sure that the claim holds, and write `changes`. Call it last before an irreversible step.

    Raises:
        Overtaken: the claim ended while its process stood still, and another worker may hold it.
    """
    mine = Pod.objects.filter(pk=pod.pk, claim=pod.claim, claimed_until__gt=shared_now())
    if not mine.update(claim=pod.claim, **changes):
        raise Overtaken(f"the claim of {pod} has ended")


def reread_intent(pod: Pod) -> None:
    """Take over what was asked of a CREATING pod since its row was read.

    `teardown.retire_pod` writes that without a new version: the spawn must still be able to write
    down the machine that it made.
    """
    pod.refresh_from_db(fields=["retire_rule", "retire_because"])


def _write(
    pod: Pod, changes: dict[str, Any], *, events: list[PodEvent], unless_retired: bool = False
) -> None:
    """Compare-and-swap the row on its version, with its events, in one transaction."""
    changes = {n: _for_people(value) if n in TEXTS else value for n, value in changes.items()}
    row = Pod.objects.filter(pk=pod.pk, version=pod.version)
    if unless_retired:
        row = row.filter(retire_rule="")
    with transaction.atomic():
        changed = row.update(version=pod.version + 1, **changes)
        if not changed:
            raise Overtaken(f"{pod} has changed since its version {pod.version} was read")
        for name, value in changes.items():
            setattr(pod, name, value)
        pod.version += 1
        PodEvent.objects.bulk_create(events)


def insert(
    pod: Pod, *, by: str, rule: PodRule, because: str, billed_since: datetime | None = None
) -> None:
    """Insert a new pod's row with its first event; from now on it counts against every guardrail.

    `billed_since`: when its machine was first seen without a row; None: it is booked from now on.
    """
    now = shared_now()
    pod.state_since, pod.because = now, _for_people(because)
    if pod.status in IN_TRANSIT:
        pod.due_at = now
    with transaction.atomic():
        pod.save(force_insert=True)
        event = _event(pod, now, by=by, rule=rule, because=because, after=pod.status)
        event.save(force_insert=True)
        segments.begin(pod, since=min(billed_since or now, now))


def move(
    pod: Pod,
    to: PodState,
    *,
    by: str,
    because: str,
    rule: PodRule | None = None,
    unless_retired: bool = False,
    **changes: Any,
) -> None:
    """Change the pod's state, add an event, and book the change of price.

    `rule`: why, for code; None for a step of an earlier decision. A pod that no longer works keeps
    it in `retire_rule`. `changes`: more columns of the same row, written in the same statement.
    In a state of transit a step is due at once, so that a lost task message is noticed.
    `unless_retired`: a pod that is to end, by its row as it is now, does not move.

    Raises:
        IllegalMove: the table of moves does not allow it.
        Overtaken: the row changed since it was read.
    """
    before, now = pod.status, shared_now()
    if not may_move(before, to):
        raise IllegalMove(f"{pod} cannot move from {before.value} to {to.value}")
    because = _for_people(because)
    changes.setdefault("due_at", now if to in IN_TRANSIT else None)
    if rule is not None and to not in ACTIVE:
        changes.setdefault("retire_rule", rule.value)
    if to is TERMINATING:
        changes.setdefault("absent_since", None)  # only later looks can prove the end
        if before is STOPPED:  # it never runs again: until it is gone it bills its stopped price
            changes.setdefault("hourly_usd", pod.stopped_hourly_usd)
    with transaction.atomic():
        _write(
            pod,
            {
                "state": to.value,
                "state_since": now,
                "because": because,
                "attempts": 0,
                "ended_at": now if to in ENDED else None,
                **changes,
            },
            events=[_event(pod, now, by=by, rule=rule, because=because, before=before, after=to)],
            unless_retired=unless_retired,
        )
        segments.follow(pod, before, to, now=now)
    log.info("pod_moved", pod=pod.pk, before=before.value, after=to.value, by=by, because=because)


def remember(pod: Pod, external_id: str, **changes: Any) -> None:
    """Store the machine's id, once, before anything else: from now on we know what bills.

    A price in `changes` goes into the ledger in the same transaction.

    Raises:
        DuplicateMachine: another row has this id, or this row has another id.
        Overtaken: the row changed since it was read.
    """
    if pod.external_id not in (None, external_id):
        raise DuplicateMachine(f"{pod}'s machine is {pod.external_id}, not {external_id}")
    now, because = shared_now(), f"its machine is {external_id} at {pod.provider}"
    try:
        with transaction.atomic():
            _write(
                pod,
                {"external_id": external_id, **changes},
                events=[_event(pod, now, by="spawn", because=because)],
            )
            if "hourly_usd" in changes:
                segments.reprice(pod, pod.hourly_usd, now=now)
    except IntegrityError as exc:
        pod.external_id = None
        raise DuplicateMachine(f"{external_id} at {pod.provider} belongs to another row") from exc


def follow_price(pod: Pod, *, hourly_usd: Decimal, booked_usd: Decimal | None) -> None:
    """Put the vendor's price of a pod that runs into its row, its history and the ledger, together.

    `booked_usd`: the price of its open segment; None: it has none, which is mended from its last end
    on. Does nothing where the row changed since it was read: the next look decides again.
    """
    if pod.hourly_usd == hourly_usd == booked_usd:
        return
    now = shared_now()
    with transaction.atomic():
        same = Pod.objects.filter(version=pod.version, pk=pod.pk)
        if not same.update(hourly_usd=hourly_usd):
            return
        if pod.hourly_usd != hourly_usd:
            note(pod, by="health", because=f"price {price_change(pod.hourly_usd, hourly_usd)}")
        segments.still_there(pod)
        segments.reprice(pod, hourly_usd, now=now)
    pod.hourly_usd = hourly_usd


def note(pod: Pod, *, by: str, because: str, rule: PodRule | None = None) -> None:
    """Add an event that is not a move."""
    _event(pod, utcnow(), by=by, rule=rule, because=because).save(force_insert=True)


def postpone(
    pod: Pod, *, by: timedelta, because: str = "", counted: bool = False, **changes: Any
) -> None:
    """Make the pod's next step due in `by`, and count the attempt unless it is `counted` already.

    It writes facts and no state. So it needs no version, and a sweep at the same time loses nothing.
    """
    tries = 0 if counted else 1
    pod.attempts += tries
    pod.due_at = shared_now() + by
    if because:
        changes["note"] = _for_people(because)
    Pod.objects.filter(pk=pod.pk).update(
        attempts=F("attempts") + tries, due_at=pod.due_at, **changes
    )
    for name, value in changes.items():
        setattr(pod, name, value)


def _for_people(text: str) -> str:
    """A text as viewers may read it: an adapter or an agent may have put an address into it."""
    return without_passwords(text)[:LONGEST_BECAUSE]


def _event(
    pod: Pod,
    at: datetime,
    *,
    by: str,
    because: str,
    rule: PodRule | None = None,
    before: PodState | None = None,
    after: PodState | None = None,
) -> PodEvent:
    return PodEvent(
        pod_id=pod.pk,
        at=at,
        by=by,
        before=before.value if before else "",
        after=after.value if after else "",
        rule=rule.value if rule else "",
        because=_for_people(because),
    )
