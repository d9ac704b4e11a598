"""Makes, revokes and recognises the tokens of the API."""

import hashlib
import re
import secrets
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.contrib.auth.models import AbstractBaseUser
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Q
from django.utils.crypto import constant_time_compare

from fleet import roles
from fleet.models import ApiToken, Scope
from pods.base.clock import utcnow
from pods.models import histories

log = structlog.get_logger(__name__)
DEFAULT_DAYS: Final = 90
LONGEST_DAYS: Final = 3650
# `pf_`, eight characters that pages show, and 256 random bits that nobody sees again.
WRITTEN: Final = re.compile(r"(pf_[0-9a-f]{8})_[A-Za-z0-9_-]{43}")
SEEN_EVERY: Final = timedelta(minutes=1)  # the last use is written at most this often


def make_token(
    owner: AbstractBaseUser,
    name: str,
    scope: Scope,
    *,
    days: int | None = None,
    until: datetime | None = None,
    by: str,
) -> tuple[ApiToken, str]:
    """Make a token for a user; return its row, and the token itself, which nobody can read again.

    It ends after `days` (90), or at `until`.

    Raises:
        ValidationError: the name is taken, the end is not in the future, or the user has no role.
    """
    now = utcnow()
    if until is None:
        until = now + timedelta(days=_days(days))
    if not now < until <= now + timedelta(days=LONGEST_DAYS):
        raise ValidationError(
            {"expires_at": f"give a time in the future, at most {LONGEST_DAYS} days from now"}
        )
    if not may_use(owner):
        raise ValidationError(
            {"owner": "this user has no role or is not active; give the user a role under Users"}
        )
    prefix = f"pf_{secrets.token_hex(4)}"
    secret = f"{prefix}_{secrets.token_urlsafe(32)}"
    token = ApiToken(
        owner_id=owner.pk, name=name, scope=scope.value, prefix=prefix, digest=_digest(secret),
        created_at=now, expires_at=until,
    )  # fmt: skip
    token.full_clean()
    token.save(force_insert=True)
    log.info("token_made", prefix=prefix, owner=owner.get_username(), scope=scope.value, by=by)
    return token, secret


def _days(days: int | None) -> int:
    if days is None:
        return DEFAULT_DAYS
    if not 1 <= days <= LONGEST_DAYS:
        raise ValidationError({"expires_at": f"{days} days: give 1 to {LONGEST_DAYS} days"})
    return days


def revoke(token: ApiToken, *, by: str) -> bool:
    """End a token for good, from its next request; False if somebody has done it already."""
    there = ApiToken.objects.filter(pk=token.pk, revoked_at=None)
    with transaction.atomic():
        histories.begin(token)
        if not there.update(revoked_at=utcnow(), revoked_by=by[:150]):
            return False
        # The one of two that was first writes it.
        token.refresh_from_db()
        histories.note(token, "")
    log.info("token_revoked", prefix=token.prefix, by=by)
    return True


def prefix_of(secret: str) -> str:
    """The part of a token that may be shown; "": it is not written like a token."""
    match = WRITTEN.fullmatch(secret)
    return match[1] if match else ""


def recognise(secret: str) -> ApiToken | None:
    """The token with its owner, if it may be used now. One query."""
    prefix = prefix_of(secret)
    if not prefix:
        return None
    token = ApiToken.objects.select_related("owner").filter(prefix=prefix).first()
    if token is None or not constant_time_compare(token.digest, _digest(secret)):
        return None
    usable = token.revoked_at is None and token.expires_at > utcnow() and may_use(token.owner)
    return token if usable else None


def may_use(user: Any) -> bool:
    """Whether a user may use the API at all: one who is active and has a role."""
    return bool(user.is_active and user.is_staff)


def may(token: ApiToken, permission: str) -> bool:
    """Whether a token has a permission such as `fleet.change_fleet`: its scope and its user must."""
    codename = permission.rpartition(".")[2]
    return roles.may(Scope(token.scope).role, codename) and token.owner.has_perm(permission)


def note_use(token: ApiToken, now: datetime) -> None:
    """Write when it was last used, at most once a minute."""
    stale = Q(last_used_at=None) | Q(last_used_at__lte=now - SEEN_EVERY)
    if token.last_used_at is None or token.last_used_at <= now - SEEN_EVERY:
        ApiToken.objects.filter(stale, pk=token.pk).update(last_used_at=now)


def _digest(secret: str) -> str:
    # A quick hash is enough: nobody guesses 256 random bits.
    return hashlib.sha256(secret.encode()).hexdigest()
