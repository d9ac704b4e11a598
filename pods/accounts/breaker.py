"""The circuit breaker of an account: after failures in a row it is left alone for a while."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from django.db.models import F, Q

from pods.accounts.connecting import BadSecret, CannotConnect
from pods.base.pauses import doubled
from pods.base.shared_clock import shared_now
from pods.masking import without_passwords
from pods.models import Account
from pods.providers.errors import (
    AuthFailed,
    Declined,
    NoCapacity,
    NotFound,
    ProviderError,
    QuotaExceeded,
    RateLimited,
    Refused,
    Unavailable,
)
from pods.rules import ErrorKind

# Three in a row are not a coincidence; the first pause is short, because most outages are short.
FAILURES_TO_OPEN: Final = 3
FIRST_PAUSE: Final = timedelta(seconds=30)
LONGEST_PAUSE: Final = timedelta(minutes=30)
# Twice the longest pause: while creates are tried and refused, the last refusal is always younger.
REFUSAL_COUNTS: Final = 2 * LONGEST_PAUSE
# The first match counts, so subclasses of Declined and CannotConnect come before them.
KINDS: Final = (
    (NoCapacity, ErrorKind.NO_CAPACITY),
    (QuotaExceeded, ErrorKind.QUOTA_EXCEEDED),
    (AuthFailed, ErrorKind.AUTH_FAILED),
    (NotFound, ErrorKind.NOT_FOUND),
    (Refused, ErrorKind.REFUSED),
    (Declined, ErrorKind.DECLINED),
    (RateLimited, ErrorKind.RATE_LIMITED),
    (Unavailable, ErrorKind.UNAVAILABLE),
    (BadSecret, ErrorKind.BAD_SECRET),
    (CannotConnect, ErrorKind.CANNOT_CONNECT),
)


def kind_of(error: ProviderError | CannotConnect) -> ErrorKind:
    """The kind of an error, as the account's row stores it."""
    return next((kind for cls, kind in KINDS if isinstance(error, cls)), ErrorKind.OTHER)


def is_open(account: Account, *, now: datetime) -> bool:
    """Whether the account is left alone now: nothing new is rented on it."""
    return account.open_until is not None and account.open_until > now


class Health(StrEnum):
    """How an account does, in the words that pages and commands show."""

    DISABLED = "disabled"
    LEFT_ALONE = "left alone"
    FAILING = "failing"  # its last call failed; a few more, and it is left alone
    NOT_SURVEYED = "not surveyed yet"  # nothing is known about it
    WELL = "well"


def health(account: Account, *, now: datetime) -> Health:
    """How the account does. Only one that has answered, and did not fail since, is well."""
    if not account.enabled:
        return Health.DISABLED
    if is_open(account, now=now):
        return Health.LEFT_ALONE
    if account.failures:
        return Health.FAILING
    return Health.NOT_SURVEYED if account.surveyed_at is None else Health.WELL


def why_unused(account: Account, *, now: datetime) -> str:
    """Why nothing new may run on the account now, after a fresh look at its row; empty: it may."""
    account.refresh_from_db(fields=["enabled", "failures", "open_until"])
    if not account.enabled:
        return f"the account {account.name} is disabled"
    if is_open(account, now=now):
        return f"the account {account.name} is left alone after failures"
    return ""


def pause_after(failures: int) -> timedelta | None:
    """How long to leave an account alone after this many failures in a row; None: not yet."""
    if failures < FAILURES_TO_OPEN:
        return None
    return doubled(FIRST_PAUSE, failures - FAILURES_TO_OPEN, longest=LONGEST_PAUSE)


def failed(
    account: Account, error: ProviderError | CannotConnect, *, creating: bool = False
) -> None:
    """Count a failure; open the breaker after enough of them, at once if the key is refused.

    `creating`: the call asked for a machine. A key may be good for reading only.

    Failures while the account is left alone are not counted and do not make the pause longer.
    Otherwise a few bad seconds would cost half an hour.
    """
    if isinstance(error, RateLimited):
        return
    row = Account.objects.filter(pk=account.pk)
    said = {
        "last_error_kind": kind_of(error).value,
        "last_error": without_passwords(f"{type(error).__name__}: {error}")[:500],
    }
    now = shared_now()
    closed = row.filter(Q(open_until__isnull=True) | Q(open_until__lte=now))
    counted = closed.update(failures=F("failures") + 1)
    row.update(**said)
    account.refresh_from_db(fields=["failures", "open_until", *said])
    if not counted:
        return
    at_once = isinstance(error, AuthFailed | QuotaExceeded)
    if at_once and creating:
        account.create_refused_at = now
        row.update(create_refused_at=account.create_refused_at)
    pause = pause_after(max(account.failures, FAILURES_TO_OPEN) if at_once else account.failures)
    if pause is not None:
        account.open_until = now + pause
        Account.objects.filter(pk=account.pk).update(open_until=account.open_until)


def succeeded(account: Account) -> None:
    """Close the breaker, because a machine was created or a new key works."""
    if account.failures or account.open_until:
        well = {
            "failures": 0,
            "open_until": None,
            "last_error": "",
            "last_error_kind": "",
            "create_refused_at": None,
        }
        Account.objects.filter(pk=account.pk).update(**well)
        for name, value in well.items():
            setattr(account, name, value)


def answered(account: Account) -> None:
    """Close the breaker after its pause, because a call that reads was answered.

    It stays if a create was refused less than REFUSAL_COUNTS ago: only a create can show that this is
    over. Otherwise the pause would never grow, and its alert would end and begin with every try.
    """
    now, refused = shared_now(), account.create_refused_at
    if is_open(account, now=now) or (refused is not None and now - refused < REFUSAL_COUNTS):
        return
    succeeded(account)
