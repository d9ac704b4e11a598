"""Makes the fleets be what a file declares: all in one transaction, through the operators' verbs."""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from fleet import archiving, keeping_code, moving, operating, promises
from fleet.code import uploads
from fleet.decision.values import Goal
from fleet.declarations.differences import (
    Action,
    Change,
    FieldChange,
    between,
    values_of,
    wanted,
)
from fleet.declarations.documents import Declared, WrongDocument
from fleet.declarations.tables import default_of
from fleet.models import Fleet
from pods.base.acting import How, acting
from pods.base.commands import error_lines
from pods.models import Account
from pods.plural import plural

REHEARSED = "rehearsed"
CODE = "code"  # stands among the fields of a change
SHOWN_DIGITS = 12  # of a digest


class PlanChanged(operating.EditedMeanwhile):
    """What would change is not what was shown: somebody edited a fleet meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a file changes, and the fleets that it does not name and leaves alone."""

    changes: tuple[Change, ...]
    left_alone: tuple[str, ...]


def plan(declared: Sequence[Declared], *, prune: bool) -> Plan:
    """What `apply` would do. It is done and taken back, so nothing that it finds is a guess.

    Raises:
        WrongDocument: a value is wrong; each wrong place has a line.
    """
    with transaction.atomic():
        found = _carry_out(declared, prune=prune, by=REHEARSED)
        transaction.set_rollback(True)
    return found


def apply(declared: Sequence[Declared], shown: Plan, *, prune: bool, by: str) -> list[str]:
    """Write what was shown, all or nothing; return what the operator should know afterwards.

    A kill before the end of the transaction leaves nothing; after it, the consumer groups may be
    missing, and the next `apply` makes them.

    Raises:
        WrongDocument: a value is wrong by now.
        PlanChanged: the plan is another one by now. Nothing was written.
    """
    before = {fleet.name: fleet for fleet in Fleet.objects.filter(name__in=_names(declared))}
    with acting(How.FILE), transaction.atomic():
        if _carry_out(declared, prune=prune, by=by) != shown:
            raise PlanChanged(
                "somebody changed a fleet since the plan was made; nothing was written; "
                "look at the plan again"
            )
    coded = {c.fleet for c in shown.changes if any(f.name == CODE for f in c.fields)}
    return [
        text
        for one in declared
        for text in _prepared(one.name, before.get(one.name), changed_code=one.name in coded)
    ]


def _prepared(name: str, before: Fleet | None, *, changed_code: bool) -> list[str]:
    """Make the fleet ready for its first tick; say what is not as it should be."""
    fleet = Fleet.objects.select_related("schedule__interval").get(name=name)
    said = []
    if changed_code and not keeping_code.publish(fleet):
        said.append(f"{name}: Redis does not answer; the next tick publishes its code")
    try:
        if not operating.prepare(fleet):
            said.append(f"{name}: its Redis does not answer; the decisions say so until it does")
    except ValidationError as exc:
        said += [f"{name}: {line}" for line in error_lines(exc, Fleet)]
    if fleet.goal == Goal.DEADLINE.value and (why := promises.impossible(fleet)):
        said.append(f"{name}: {why}")
    if before is not None and (left := moving.left_behind(before, fleet)):
        said.append(left)
    return said


def _names(declared: Sequence[Declared]) -> list[str]:
    return [one.name for one in declared]


def _carry_out(declared: Sequence[Declared], *, prune: bool, by: str) -> Plan:
    """Write everything; needs a transaction. Every fleet is tried, so all that is wrong is said."""
    wrong: list[str] = []
    changes = [
        change
        for one in declared
        if (change := _tried(one.name, wrong, partial(_one, one, by=by))) is not None
    ]
    others = Fleet.objects.filter(archived_at=None).exclude(name__in=_names(declared))
    left_alone = []
    for fleet in others.order_by("name"):
        if not prune or fleet.archive_when_empty:
            left_alone.append(fleet.name)
        elif not declared:
            wrong.append(f"the file declares no fleet; --prune would archive {fleet.name}")
        elif change := _tried(fleet.name, wrong, partial(_archive, fleet, by=by)):
            changes.append(change)
    if wrong:
        raise WrongDocument(wrong)
    return Plan(changes=tuple(changes), left_alone=tuple(left_alone))


def _tried(name: str, wrong: list[str], act: Callable[[], Change | None]) -> Change | None:
    try:
        with transaction.atomic():
            return act()
    except ValidationError as exc:
        wrong += [f"fleets.{name}.{line}" for line in error_lines(exc, Fleet)]
    except (operating.EditedMeanwhile, ValueError) as exc:
        wrong.append(f"fleets.{name}: {exc}")
    return None


def _archive(fleet: Fleet, *, by: str) -> Change:
    archiving.archive(fleet, when_empty=True, by=by)
    return Change(fleet=fleet.name, action=Action.ARCHIVE)


def _one(declared: Declared, *, by: str) -> Change | None:
    """Create, bring back or change one fleet; None if it is as declared already."""
    accounts = operating.accounts_named(list(dict.fromkeys(declared.accounts)))
    fleet = Fleet.objects.select_related("schedule__interval").filter(name=declared.name).first()
    if fleet is None:
        return _create(declared, accounts, by=by)
    back = fleet.archived_at is not None or fleet.archive_when_empty
    if back:
        archiving.restore(fleet, by=by)
    changed = _change(fleet, declared, accounts, by=by)
    if back:
        return Change(fleet=fleet.name, action=Action.RESTORE, fields=changed)
    return Change(fleet=fleet.name, action=Action.CHANGE, fields=changed) if changed else None


def _create(declared: Declared, accounts: Sequence[Account], *, by: str) -> Change:
    fleet = Fleet(name=declared.name)
    _set(fleet, wanted(declared))
    operating.create(fleet, accounts, tick=_period(declared), by=by)
    code = _give_code(fleet, declared, by=by)
    defaults = {name: default_of(name) for name in operating.EDITABLE if name != "handler"}
    after = values_of(fleet, operating.EDITABLE)
    fields = (replace(f, before=None) for f in between(defaults, after))
    return Change(fleet=declared.name, action=Action.CREATE, fields=(*fields, *code))


def _change(
    fleet: Fleet, declared: Declared, accounts: Sequence[Account], *, by: str
) -> tuple[FieldChange, ...]:
    """Edit a fleet where it differs. What it would be is compared as it would be stored."""
    target = copy(fleet)
    _set(target, values := wanted(declared))
    operating.check(target, accounts)
    before = values_of(fleet, tuple(values))
    after = {
        **{name: getattr(target, name) for name in values},
        "accounts": sorted(account.name for account in accounts),
        "tick_seconds": declared.tick_seconds,
    }
    found = between(before, after)
    other_code = declared.packed is not None and declared.packed.digest != fleet.bundle
    if found or other_code:
        edits = {name: after[name] for name in values if before[name] != after[name]}
        operating.edit(
            fleet, edits, accounts=accounts, tick=_period(declared), by=by, foresees=False,
            gets_code=declared.packed is not None,
        )  # fmt: skip
    return (*found, *_give_code(fleet, declared, by=by))


def _give_code(fleet: Fleet, declared: Declared, *, by: str) -> tuple[FieldChange, ...]:
    """Give a fleet the code of its script. Needs a transaction that has claimed its version."""
    packed = declared.packed
    if packed is None or packed.digest == fleet.bundle:
        return ()
    before = keeping_code.described(fleet) if fleet.code_number else None
    was = fleet.bundle[:SHOWN_DIGITS] or None
    after = uploads.described(packed.archive)
    differ = len(after.files) if before is None else uploads.changed(before, after)
    said = plural(differ, "file") if before is None else f"{plural(differ, 'file')} changed"
    keeping_code.give(fleet, packed, by=by)
    shown = f"{packed.digest[:SHOWN_DIGITS]} ({said}, from {packed.source})"
    return (FieldChange(name=CODE, before=was, after=shown),)


def _set(fleet: Fleet, values: Mapping[str, Any]) -> None:
    """Set the values as they would be stored.

    Raises:
        ValidationError: with a message for each field that is wrong.
    """
    wrong: dict[str, ValidationError] = {}
    for name, value in values.items():
        field: Any = Fleet._meta.get_field(name)
        try:
            setattr(fleet, name, field.clean(value, fleet))
        except ValidationError as exc:
            wrong[name] = exc
    if wrong:
        raise ValidationError(wrong)


def _period(declared: Declared) -> timedelta:
    return timedelta(seconds=declared.tick_seconds)
