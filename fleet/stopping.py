"""The switch that stops everything, its undo, and the other limits of the installation.

The switch is one column of one row. It needs no Redis, no backlog that can be read and no fleet that is
valid, and it leaves the modes of the fleets alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Case, Count, F, Max, Sum, Value, When

from fleet.decision.field_words import LIMITS, edited
from fleet.decision.values import Mode
from fleet.decision.windows import is_unattended, undecided_since
from fleet.models import Fleet, Limits
from fleet.operating import EditedMeanwhile
from pods.base.clock import utcnow
from pods.models import Orphan, Pod
from pods.states import STOPPED as OFF

STOPPED: Final = Mode.STOP_ALL.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """What stopping everything ends, and what it does not."""

    pods: int  # that may bill
    fleets: int  # that have them
    hourly_usd: Decimal
    orphans: int  # machines without a row: no fleet ends them
    unticked: tuple[str, ...]  # fleets with pods whose schedule is off, so nothing ends those
    undecided: tuple[str, ...]  # others with pods on which nothing has decided lately


def reach() -> Reach:
    """What stopping everything would end now. Four queries."""
    off = When(state=OFF.value, then=F("stopped_hourly_usd"))  # it bills its disk alone
    price = Case(off, default=F("hourly_usd"))
    found = Pod.objects.billable().aggregate(
        pods=Count("pk"), fleets=Count("fleet", distinct=True), usd=Sum(price)
    )
    billing = Fleet.objects.filter(pk__in=Pod.objects.billable().values("fleet"), archived_at=None)
    unticked = billing.exclude(schedule__enabled=True).order_by("name")
    ticked = billing.filter(schedule__enabled=True).select_related("schedule__interval")
    now = utcnow()
    undecided = [
        fleet.name
        for fleet in ticked.annotate(decided_at=Max("ticks__at")).order_by("name")
        if is_unattended(now - _undecided_since(fleet), fleet.tick_period)
    ]
    return Reach(
        pods=found["pods"],
        fleets=found["fleets"],
        hourly_usd=found["usd"] or Decimal(0),
        orphans=Orphan.objects.filter(gone_at=None).count(),
        unticked=tuple(unticked.values_list("name", flat=True)),
        undecided=tuple(undecided),
    )


def _undecided_since(fleet: Any) -> datetime:
    """Needs the annotation `decided_at`."""
    return undecided_since(
        created=fleet.created_at, restored=fleet.restored_at, decided=fleet.decided_at
    )


def stop_everything(*, by: str) -> bool:
    """Let nothing run: from the next tick of each fleet no pod starts, and all pods are ended.

    The present mode is kept for the undo. Return False if everything is stopped already: then this
    changes nothing, also not who stopped it.
    """
    Limits.made()
    with transaction.atomic():
        # One UPDATE on the mode, not on the version: a tick that raises the version refuses no stop.
        done = (
            Limits.objects.exclude(mode=STOPPED)
            .filter(pk=1)
            .update(
                mode_before=F("mode"),
                mode=STOPPED,
                mode_by=by[:150],
                mode_at=utcnow(),
                version=F("version") + 1,
            )
        )
        if done:
            _remember(f"stopped everything, by {by}")
    return bool(done)


def undo_stop(seen: Limits, *, by: str) -> Mode:
    """Bring back the mode from before; return it. Fleets go on in their own modes.

    After a stop of an older version nobody knows the mode from before: then it is PAUSED.

    Raises:
        EditedMeanwhile: somebody undid it, or stopped everything again, since `seen` was read.
        ValidationError: nothing is stopped.
    """
    if not seen.stopped:
        raise ValidationError("nothing is stopped: there is nothing to undo")
    mode = Mode(seen.mode_before or Mode.PAUSED.value)
    with transaction.atomic():
        done = Limits.objects.filter(pk=1, mode=STOPPED, version=seen.version).update(
            mode=mode.value,
            mode_before="",
            mode_by=by[:150],
            mode_at=utcnow(),
            version=F("version") + 1,
        )
        if not done:
            raise EditedMeanwhile("somebody else changed this meanwhile; look again, then undo")
        _remember(f"undid the stop of everything, by {by}")
    return mode


def set_limits(changes: Mapping[str, Any], *, by: str, seen: Limits | None = None) -> bool:
    """Write these limits of the installation, and no others; in force from the next tick.

    `seen`: as the operator read them; None: whatever they are now.

    A mode is written only if nothing is stopped: only the undo ends a stop. Return False if a mode
    was left out for that reason.

    Raises:
        ValidationError: the mode is STOP_ALL: `stop_everything` does that, and keeps what to undo.
        EditedMeanwhile: somebody changed them since `seen` was read.
    """
    values, mode = dict(changes), changes.get("mode")
    if mode == STOPPED:
        raise ValidationError({"mode": "use the button Stop everything, which can be undone"})
    if mode is not None:
        values |= {
            "mode": Case(When(mode=STOPPED, then=Value(STOPPED)), default=Value(mode)),
            "mode_by": Case(When(mode=STOPPED, then=F("mode_by")), default=Value(by[:150])),
            "mode_at": Case(When(mode=STOPPED, then=F("mode_at")), default=Value(utcnow())),
        }
    Limits.made()
    rows = Limits.objects.filter(pk=1)
    if seen is not None:
        rows = rows.filter(version=seen.version)
    with transaction.atomic():
        if not rows.update(**values, version=F("version") + 1):
            raise EditedMeanwhile(
                "somebody else changed the limits meanwhile; read them again, then edit"
            )
        now = _remember(edited(changes, by, LIMITS))
    return mode is None or now.mode == mode


def _remember(reason: str) -> Limits:
    """Add the row as it is now to its history. Needs the transaction that wrote it."""
    limits = Limits.objects.get(pk=1)
    limits._change_reason = reason  # type: ignore[attr-defined]
    limits.save(update_fields=["mode"])  # the history is written with a save
    return limits
