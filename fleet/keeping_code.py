"""Gives fleets their code, and the code before: the command, the API, the admin and files call it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Max

from fleet import operating, ordering
from fleet.code import channel, pythons_here, uploads
from fleet.code.channel import NotPublished
from fleet.code.packing import Packed
from fleet.code.uploads import Description
from fleet.models import Code, Fleet
from pods import dispatch
from pods.accounts import connecting
from pods.base.clock import utcnow

TICK: Final = "fleet.tick"
# Older archives are deleted, unless a pod has one of them.
MOST_KEPT: Final = 20


def create_fleet(
    name: str,
    packed: Packed,
    *,
    accounts: Sequence[str] = (),
    tick: timedelta | None = None,
    by: str,
    **values: Any,
) -> Fleet:
    """Create a fleet whose pods run this code. One transaction: no tick sees it without its code.

    Raises:
        ValidationError: a value is wrong; the message says which and what would be right.
    """
    fleet = Fleet(name=name, **{**values, "handler": packed.handler})
    with transaction.atomic():
        operating.create(fleet, operating.accounts_named(accounts), tick=tick, by=by)
        give(fleet, packed, by=by)
    operating.prepare(fleet)
    publish(fleet)
    return fleet


def set_code(
    fleet: Fleet,
    packed: Packed,
    changes: Mapping[str, Any],
    *,
    by: str,
    remember: Callable[[int], None] = lambda _number: None,
) -> bool:
    """Give a fleet this code, and change fields with it; False if Redis does not answer.

    Then the next tick publishes it. The code before stays: see `rollback`. `remember` gets the number
    of the version in the same transaction.

    Raises:
        ValidationError: a value is wrong.
        EditedMeanwhile: the fleet changed since it was read.
    """
    with transaction.atomic():
        operating.edit(fleet, {**changes, **_handler(fleet, packed)}, by=by, gets_code=True)
        give(fleet, packed, by=by)
        remember(fleet.code_number)
    return publish(fleet)


def rollback(
    fleet: Fleet, *, by: str, remember: Callable[[int], None] = lambda _number: None
) -> Code:
    """Give a fleet the code that it had before its present one, with its handler.

    `remember` gets the number of that version in the same transaction.

    Raises:
        ValidationError: the fleet had no code before.
        EditedMeanwhile: the fleet changed since it was read.
    """
    before = before_present(fleet)
    if before is None:
        raise ValidationError(
            f"{fleet.name} has no code before "
            + (f"version {fleet.code_number}" if fleet.code_number else "its image")
            + "; give it other code with `fleet set --script`"
        )
    with transaction.atomic():
        operating.edit(fleet, _handler(fleet, before), by=by, gets_code=True)
        _use(fleet, before, because=f"code rolled back to version {before.number} by {by}")
        remember(before.number)
    publish(fleet)
    return before


def _handler(fleet: Fleet, code: Packed | Code) -> Mapping[str, str]:
    """The edit of the fleet's handler that the code needs; none if it has that one."""
    return {} if fleet.handler == code.handler else {"handler": code.handler}


def in_use_since(fleet: Fleet) -> Any:
    """The entry of the history by which the fleet got its present code; None: it had no other."""
    other = fleet.history.exclude(code_number=fleet.code_number).order_by("-history_id").first()
    ours = fleet.history.filter(code_number=fleet.code_number)
    if other is not None:
        ours = ours.filter(history_id__gt=other.history_id)
    return ours.order_by("history_id").first()


def current(fleet: Fleet) -> Code | None:
    """The present version of a fleet's code, without its archive; None: its image has the code."""
    return fleet.codes.defer("archive").filter(number=fleet.code_number).first()


def described(fleet: Fleet) -> Description:
    """What the present code of a fleet is made of; nothing where its image has the code."""
    archive = channel.archive_of(fleet, fleet.bundle) if fleet.code_number else None
    return Description() if archive is None else uploads.described(archive)


def before_present(fleet: Fleet) -> Code | None:
    """The version that `rollback` would go to, without its archive; None: there is none."""
    older = fleet.codes.defer("archive").filter(number__lt=fleet.code_number)
    return older.order_by("-number").first()


def versions(fleet: Fleet) -> Sequence[Code]:
    """The versions that are kept, without their archives; the newest first."""
    return list(fleet.codes.defer("archive").order_by("-number"))


def give(fleet: Fleet, packed: Packed, *, by: str) -> None:
    """Give a fleet this code, unless it has it. `publish` does the rest.

    Needs a transaction that has claimed the fleet's version, or has made the fleet.

    Raises:
        ValidationError: its pods all run on this machine, which has no Python for the code.
    """
    if packed.digest == fleet.bundle:
        return
    kinds = [connecting.capabilities_of(account) for account in fleet.accounts.all()]
    if why := pythons_here.why_none(packed.python, kinds):
        raise ValidationError(f"{why}; nothing was changed")
    newest = fleet.codes.aggregate(newest=Max("number"))["newest"] or 0
    code = Code.objects.create(
        fleet=fleet,
        number=newest + 1,
        digest=packed.digest,
        archive=packed.archive,
        size=len(packed.archive),
        source=packed.source[:200],
        handler=packed.handler,
        requirements=list(packed.requirements),
        made_at=utcnow(),
        made_by=by[:150],
    )
    _use(fleet, code, because=f"code version {code.number} ({code.source}) set by {by}")
    used = {pod.agent.get("bundle", "") for pod in fleet.pods.billable().only("agent")}
    old = fleet.codes.filter(number__lte=code.number - MOST_KEPT)
    old.exclude(digest__in=[*used, code.digest]).delete()


def _use(fleet: Fleet, code: Code, *, because: str) -> None:
    """Needs a transaction that has claimed the fleet's version, or has made the fleet."""
    fleet.bundle, fleet.code_number = code.digest, code.number
    ordering.refuse_two_starts(fleet)
    fleet.try_again_at = utcnow()  # other code may work where the last one failed
    fleet._change_reason = because  # type: ignore[attr-defined]
    fleet.save(update_fields=["bundle", "code_number", "try_again_at"])


def publish(fleet: Fleet) -> bool:
    """Put the code where pods fetch it, and let a tick decide at once; False: Redis did not take it."""
    try:
        channel.keep(fleet)
    except NotPublished:
        return False
    finally:
        dispatch.send(TICK, fleet.pk)
    return True
