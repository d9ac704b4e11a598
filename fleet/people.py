"""What people may do, and the history of their access."""

from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.contrib.auth.models import Group, User
from django.db import transaction

from fleet.models import PersonEvent
from fleet.models.people import LONGEST_SAID
from fleet.roles import ROLES
from pods.base.acting import LONGEST_BY, address_of
from pods.base.clock import utcnow

What = PersonEvent.What
log = structlog.get_logger(__name__)
OWNER: Final = "owner"
NOBODY: Final = "none"


def role_of(user: User) -> str:
    """The role of a user: the highest one, if an older version gave several."""
    if user.is_superuser:
        return OWNER
    names = {group.name for group in user.groups.all()} if user.pk else set()
    return next((role for role in reversed(list(ROLES)) if role in names), NOBODY)


def give_role(user: User, role: str, *, by: str, how: str) -> bool:
    """Give a user this role instead of the one from before; other groups stay. Whether it changed.

    Permissions of its own stay too: they are not shown, and nothing here gives any.
    """
    with transaction.atomic():
        before = role_of(user)
        user.is_superuser = role == OWNER
        user.is_staff = role != NOBODY
        user.save(update_fields=["is_superuser", "is_staff"])
        others = user.groups.exclude(name__in=ROLES)
        user.groups.set([*others, *Group.objects.filter(name=role)])
        if before != role:
            note(What.ROLE, user.get_username(), by=by, how=how, before=before, after=role)
    return before != role


def note(
    what: PersonEvent.What, name: str, *, by: str = "", how: str, request: Any = None,
    before: str = "", after: str = "", said: str = "",
) -> None:  # fmt: skip
    """Write what happened to the access of the person with this name. Never a secret.

    `by`: who did it; "": the person itself. `request`: the one whose address is kept.
    """
    PersonEvent.objects.create(
        at=utcnow(), what=what, name=_readable(name), by=(by or _readable(name))[:LONGEST_BY],
        how=how, address="" if request is None else address_of(request), before=before,
        after=after, said=said[:LONGEST_SAID],
    )  # fmt: skip
    log.info("access_changed", what=what.value, name=_readable(name), by=by, how=how)


def note_once(
    what: PersonEvent.What, name: str, *, how: str, request: Any, every: timedelta
) -> None:
    """As `note`, but once in this time for a name and an address: a program may try without end."""
    since: datetime = utcnow() - every
    there = PersonEvent.objects.filter(
        what=what, name=_readable(name), address=address_of(request), at__gt=since
    )
    if not there.exists():
        note(what, name, how=how, request=request)


def _readable(name: str) -> str:
    """A name as somebody typed it, without control characters; PostgreSQL refuses NUL."""
    return "".join(c if c.isprintable() else "?" for c in name)[:LONGEST_BY]
