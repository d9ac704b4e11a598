"""Sets, lists and removes the secrets of fleets: the verbs of the command line and of the admin."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import F, Sum

from fleet import operating
from fleet.models import Fleet, IssuedKeys, Secret
from fleet.secrets import channel, checking, issuing, opening
from fleet.secrets.channel import NotWritten
from fleet.secrets.opening import Unreadable
from pods.base import sealing
from pods.base.clock import utcnow
from pods.models import histories


@dataclass(frozen=True, slots=True, kw_only=True)
class Listed:
    """What may be shown of a secret."""

    name: str
    set_at: datetime
    set_by: str
    readable: bool  # False: it was encrypted with a key that is gone


def set_secret(fleet: Fleet, name: str, value: str, *, by: str) -> bool:
    """Set a secret, or replace it; False if Redis does not answer, so that the next tick writes it.

    Safe to kill at any line: the row is written first, and each tick compares Redis with the rows.

    Raises:
        ValidationError: the name or the value cannot be used, or the fleet is archived.
        Unreadable: another secret of the fleet cannot be decrypted; this one is stored.
    """
    checking.check_name(name)
    checking.check_value(value)
    checking.check_meaning(name, value)
    with transaction.atomic():
        _lock(fleet)
        others = fleet.secrets.exclude(name=name).aggregate(sum=Sum("size"))["sum"] or 0
        names = sum(map(len, fleet.secrets.exclude(name=name).values_list("name", flat=True)))
        size = checking.size_of(value)
        checking.check_sum(others + names + size + len(name))
        _, made = Secret.objects.update_or_create(
            fleet=fleet,
            name=name,
            defaults={
                "sealed_value": sealing.seal(value),
                "size": size,
                "revision": uuid4(),
                "set_at": utcnow(),
                "set_by": by[:150],
            },
        )
        if name == checking.ROLE:
            IssuedKeys.objects.get_or_create(fleet=fleet)
        histories.note(fleet, f"secret {name} {'set' if made else 'replaced'} by {by}")
    return _tell(fleet)


def remove_secret(fleet: Fleet, name: str, *, by: str) -> bool:
    """Remove a secret; False if Redis does not answer, so that the next tick removes it there.

    Raises:
        ValidationError: the fleet has no secret of this name, or it is archived.
        Unreadable: another secret of the fleet cannot be decrypted; this one is removed.
    """
    with transaction.atomic():
        _lock(fleet)
        # PostgreSQL refuses a query with a NUL in it
        if "\0" in name or not fleet.secrets.filter(name=name).delete()[0]:
            names = fleet.secrets.order_by("name").values_list("name", flat=True)
            known = ", ".join(names) or "none"
            raise ValidationError(
                {"key": f"{fleet.name} has no secret of this name; known: {known}"}
            )
        if name == checking.ROLE:
            IssuedKeys.objects.filter(fleet=fleet).delete()
        histories.note(fleet, f"secret {name} removed by {by}")
    return _tell(fleet)


def effect(fleet: Fleet, name: str, *, removed: bool, there: bool) -> str:
    """What a change means for the fleet's pods, for people. `there`: Redis has it."""
    when = "with its next heartbeat" if there else "once Redis answers again"
    if name == checking.ROLE and removed:
        return f"each pod takes the fleet's own AWS keys {when}"
    if name not in issuing.KEPT_HERE or not fleet.secrets.filter(name=checking.ROLE).exists():
        return f"each pod takes the change {when}"
    return (
        "the manager alone uses it, and no pod gets it. Each pod takes the short-lived keys of the role "
        f"{when}, once they are issued"
    )


def listed(fleet: Fleet) -> Sequence[Listed]:
    """The names of the fleet's secrets, when each was set, and by whom."""
    return [
        Listed(name=row.name, set_at=row.set_at, set_by=row.set_by, readable=_is_readable(row))
        for row in fleet.secrets.select_related("fleet").order_by("name")
    ]


def _is_readable(row: Secret) -> bool:
    try:
        opening.opened(row)
    except Unreadable:
        return False
    return True


def _lock(fleet: Fleet) -> None:
    """Let others who change this fleet's secrets wait, and refuse an archived fleet."""
    Fleet.objects.filter(pk=fleet.pk).update(version=F("version"))
    fleet.refresh_from_db()
    operating.refuse_archived(fleet)


def _tell(fleet: Fleet) -> bool:
    fleet.refresh_from_db()  # also whether it has a role
    issuing.renew_if_due(fleet)
    try:
        channel.keep(fleet)
    except NotWritten:
        return False
    return True
