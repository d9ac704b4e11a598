"""What people may do, and the history of their access."""

from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.contrib.auth.models import Group, User
from django.contrib.auth.signals import user_logged_out
from django.db import transaction
from django.db.models.signals import post_delete, post_save, pre_save

from fleet.models import PersonEvent
from fleet.models.people import LONGEST_SAID
from fleet.roles import ROLES
from pods.base.acting import LONGEST_BY, address_of, by_now, how_now
from pods.base.clock import utcnow

What = PersonEvent.What
log = structlog.get_logger(__name__)
OWNER: Final = "owner"
HIDDEN: Final = "(changed)"  # of a password
NOBODY: Final = "none"
# Of a user. Roles are noted by `give_role`; the last login is a sign-in.
FIELDS: Final = ("username", "email", "first_name", "last_name", "is_active", "password")


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


def note_users() -> None:
    """From now on, note each user that is made, changed, deleted or signs out, whoever does it.

    The note is in the transaction of the change, where there is one.
    """
    for signal, noted in (
        (pre_save, _compare),
        (post_save, _note_saved),
        (post_delete, _note_gone),
    ):
        signal.connect(noted, sender=User, dispatch_uid=f"fleet.people{noted.__name__}")
    user_logged_out.connect(_note_out, dispatch_uid="fleet.people_note_out")


def _note_out(request: Any, user: User | None, **_: Any) -> None:
    if user is not None:  # else the session was over already
        note(What.SIGNED_OUT, user.get_username(), how=how_now(), request=request)


def _compare(instance: User, update_fields: Any = None, **_: Any) -> None:
    names = [n for n in FIELDS if update_fields is None or n in update_fields]
    stored = User.objects.filter(pk=instance.pk).values(*names).first() if names else None
    found = ((name, was, getattr(instance, name)) for name, was in (stored or {}).items())
    edits = {name: (was, now) for name, was, now in found if was != now}
    # Django hashes a password anew at a sign-in, if its settings changed. Nobody changed it then.
    typed = getattr(instance, "_password", None) is not None or not instance.has_usable_password()
    if not typed:
        edits.pop("password", None)
    instance._edits = edits  # type: ignore[attr-defined]


def _note_saved(instance: User, created: bool, raw: bool = False, **_: Any) -> None:
    if raw:
        return
    if created:
        _note_user(What.MADE, instance, after=OWNER if instance.is_superuser else "")
    for name, (was, now) in getattr(instance, "_edits", {}).items():
        secret = name == "password"
        before, after = ("", HIDDEN) if secret else (str(was), str(now))
        _note_user(What.EDITED, instance, before=before, after=after, said=name)


def _note_gone(instance: User, **_: Any) -> None:
    _note_user(What.DELETED, instance)


def _note_user(what: PersonEvent.What, user: User, **more: str) -> None:
    """Write it; without a name for who did it, the manager did."""
    values = {key: _readable(text) for key, text in more.items()}
    name, by, how = _readable(user.get_username()), by_now(), how_now()
    PersonEvent.objects.create(at=utcnow(), what=what, name=name, by=by, how=how, **values)
    log.info("user_changed", what=what.value, name=name, by=by, how=how)
