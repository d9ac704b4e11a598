"""The circuit breaker of an account: after failures in a row it is left alone for a while."""

from datetime import datetime, timedelta
from typing import Final

from django.db.models import F, Q

from pods.accounts.connecting import BadSecret, CannotConnect
from pods.base.clock import utcnow
from pods.base.pauses import doubled
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

# Three in a row are no coincidence; the first pause is short, since most troubles are.
FAILURES_TO_OPEN: Final = 3
FIRST_PAUSE: Final = timedelta(seconds=30)
LONGEST_PAUSE: Final = timedelta(minutes=30)
# Twice the longest pause: while creates are tried and refused, the last one is always younger.
REFUSAL_COUNTS: Final = 2 * LONGEST_PAUSE
# The first that fits: Declined and CannotConnect have kinds of their own below them.
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
    """Which kind an error is, as it is written down."""
    return next((kind for cls, kind in KINDS if isinstance(error, cls)), ErrorKind.OTHER)


def is_open(account: Account, *, now: datetime) -> bool:
    """Whether nothing new is to be rented on this account now."""
    return account.open_until is not None and account.open_until > now


def pause_after(failures: int) -> timedelta | None:
    """How long to leave an account alone after so many failures in a row; None: not yet."""
    if failures < FAILURES_TO_OPEN:
        return None
    return doubled(FIRST_PAUSE, failures - FAILURES_TO_OPEN, longest=LONGEST_PAUSE)


def failed(
    account: Account, error: ProviderError | CannotConnect, *, creating: bool = False
) -> None:
    """Count a failure; open the breaker when there were enough, at once when the key is refused.

    `creating`: a machine was asked for. A key may be good for questions alone.

    What fails while the account is left alone is no new try: it neither counts nor makes the pause
    longer, else a few bad seconds would be paid for with half an hour.
    """
    if isinstance(error, RateLimited):
        return
    row = Account.objects.filter(pk=account.pk)
    said = {
        "last_error_kind": kind_of(error).value,
        "last_error": f"{type(error).__name__}: {error}"[:500],
    }
    closed = row.filter(Q(open_until__isnull=True) | Q(open_until__lte=utcnow()))
    counted = closed.update(failures=F("failures") + 1, **said)
    if not counted:
        row.update(**said)
    account.refresh_from_db(fields=["failures", "open_until", *said])
    if not counted:
        return
    at_once = isinstance(error, AuthFailed | QuotaExceeded)
    if at_once and creating:
        account.create_refused_at = utcnow()
        row.update(create_refused_at=account.create_refused_at)
    pause = pause_after(max(account.failures, FAILURES_TO_OPEN) if at_once else account.failures)
    if pause is not None:
        account.open_until = utcnow() + pause
        Account.objects.filter(pk=account.pk).update(open_until=account.open_until)


def succeeded(account: Account) -> None:
    """A machine was created, or a new key was tried: the account is well again."""
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
    """A question was answered: the account is well again once its pause is over.

    But for a create that was refused less than REFUSAL_COUNTS ago: of that only a create can tell,
    else the pause would never grow, and its alert would end and begin with every try.
    """
    now, refused = utcnow(), account.create_refused_at
    if is_open(account, now=now) or (refused is not None and now - refused < REFUSAL_COUNTS):
        return
    succeeded(account)
