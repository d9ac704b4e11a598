"""Compares what a fleet's recorded decisions led to with what other settings would have led to."""

from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any, Final

from django.core.exceptions import ValidationError

from fleet.decision.values import Policy
from fleet.decision.what_if import Course, Recorded, as_recorded, replay
from fleet.models import Fleet, Limits, Tick
from fleet.tick.policies import policy_of
from fleet.tick.recording import replayed, replayed_policy
from pods.base.clock import utcnow

MOST_TICKS: Final = 6_000  # a day of them, with the usual period


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """The course that was, the model of it, and the model with the other settings."""

    recorded: Course
    model: Course
    changed: Course | None  # None: no setting is another one
    each: int  # one of so many decisions was read


def edited(fleet: Fleet, values: Mapping[str, Any]) -> Fleet:
    """A copy of a fleet with other values, as they were typed; it is not stored.

    Raises:
        ValidationError: a value is wrong.
    """
    found = copy(fleet)
    for name, value in values.items():
        field: Any = Fleet._meta.get_field(name)
        try:
            setattr(found, name, field.clean(value, found))
        except ValidationError as exc:
            raise ValidationError({name: exc.messages}) from exc
    return found


def policy_changes(fleet: Fleet, values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a policy that other values of a fleet's fields change; none of them is stored.

    Raises:
        ValidationError: a value is wrong, or no decision depends on any of them.
    """
    if not values:
        return {}
    other = edited(fleet, values)
    other.full_clean(exclude=["schedule"])
    if not (changed := differences(fleet, other)):
        names = ", ".join(values)
        raise ValidationError(f"{names}: that is the present value, or no decision depends on it")
    return changed


def differences(fleet: Fleet, other: Fleet) -> dict[str, Any]:
    """The fields of the policy of another version of a fleet that differ."""
    limits, now = Limits.get(), utcnow()
    before, after = policy_of(fleet, limits, now), policy_of(other, limits, now)
    return {
        f.name: getattr(after, f.name)
        for f in fields(Policy)
        if getattr(before, f.name) != getattr(after, f.name)
    }


def compared(
    fleet: Fleet,
    since: datetime,
    until: datetime,
    changes: Mapping[str, Any],
    *,
    most: int = MOST_TICKS,
) -> Compared:
    """The courses of a fleet between two moments; of more than `most` ticks one of every few is read.

    Raises:
        TooLittle: the recorded ticks do not say enough.
    """
    ticks, each = _ticks(fleet, since, until, most)
    return Compared(
        recorded=as_recorded(ticks),
        model=replay(ticks),
        changed=replay(ticks, lambda policy: replace(policy, **changes)) if changes else None,
        each=each,
    )


def courses(found: Compared, said: str) -> list[tuple[str, Course]]:
    """The courses with their names, for tables and charts; `said`: the other settings."""
    shown = [("as it was", found.recorded), ("model of it", found.model)]
    return [*shown, (f"with {said}", found.changed)] if found.changed else shown


def _ticks(
    fleet: Fleet, since: datetime, until: datetime, most: int
) -> tuple[Sequence[Recorded], int]:
    rows = Tick.objects.filter(fleet=fleet, at__gte=since, at__lte=until).order_by("at")
    each = -(-rows.count() // most) or 1
    keys = [] if each == 1 else list(rows.values_list("pk", flat=True))[::each]
    present = policy_of(fleet, Limits.get(), until)
    found = rows if each == 1 else Tick.objects.in_bulk(keys).values()
    return [recorded_tick(tick, present) for tick in sorted(found, key=lambda t: t.at)], each


def recorded_tick(tick: Tick, present: Policy) -> Recorded:
    """A tick as it was recorded; one of an older version has no policy, so the present one counts."""
    policy = replayed_policy(tick.policy) if tick.policy else present
    return Recorded(seen=replayed(tick.snapshot), policy=policy)
