"""What operators do to accounts: add them, give them credentials, and try those with a real call."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from django.core.exceptions import ValidationError

from pods.accounts import breaker, connecting
from pods.accounts.connecting import CannotConnect, Connect
from pods.base import sealing, words
from pods.models import Account, Installation
from pods.providers import registry
from pods.providers.errors import AuthFailed, ProviderError, TryAgain


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What an account answered to a real call."""

    good: bool | None  # None: it could not be told now
    says: str
    machines: int | None = None  # of ours that it lists
    balance_usd: Decimal | None = None


def try_account(account: Account, *, connect: Connect = connecting.connect) -> Tried:
    """Whether the account's credentials are good: its own list of machines is asked for.

    Changes nothing, at the vendor or here.
    """
    try:
        provider = connect(account)
        machines = provider.list_tagged(Installation.tag())
        balance = provider.balance() if provider.capabilities.has_balance else None
    except AuthFailed as exc:
        where = account.secret_ref or "the stored secret"
        return Tried(good=False, says=f"{account.provider} refuses the key of {where}: {exc}")
    except TryAgain as exc:
        return Tried(good=None, says=f"{account.provider} cannot be asked now: {exc}")
    except (ProviderError, CannotConnect) as exc:
        return Tried(good=False, says=str(exc))
    money = "" if balance is None else f", {words.usd(balance)} left"
    return Tried(
        good=True,
        says=f"{account.provider} accepts the key: {len(machines)} machines of ours{money}",
        machines=len(machines),
        balance_usd=balance,
    )


def save_account(
    account: Account,
    *,
    secret: str | None = None,
    changes: Mapping[str, Any],
    connect: Connect = connecting.connect,
) -> Tried:
    """Change an account, new or not, once a real call has shown that it works.

    `secret` is stored encrypted, in the place of a reference; a new reference in the place of a stored
    secret. Where the vendor cannot be asked now the account is saved, and the answer says so.

    Raises:
        ValidationError: a value is wrong, or the vendor refuses the credentials; nothing was saved.
    """
    for name, value in changes.items():
        setattr(account, name, value)
    if secret is not None:
        if not secret.strip():
            raise ValidationError({"secret": "the secret is empty; nothing was changed"})
        account.sealed_secret, account.secret_ref = sealing.seal(secret.strip()), ""
    tried = check_account(account, connect=connect)
    write_account(account, changes, tried=tried)
    return tried


def check_account(account: Account, *, connect: Connect = connecting.connect) -> Tried:
    """Everything that must be right before an account is written, its key included.

    The vendor is not asked about a disabled account: an account whose key is refused can be disabled.

    Raises:
        ValidationError: a value is wrong, or the vendor refuses the credentials.
    """
    if account.provider not in registry.names():
        known = ", ".join(registry.names())
        raise ValidationError({"provider": f"no provider {account.provider!r}; known: {known}"})
    account.full_clean()
    if not account.enabled:
        return Tried(good=None, says="the account is disabled, so its key was not tried")
    tried = try_account(account, connect=connect)
    if tried.good is False:
        raise ValidationError({"account": f"{tried.says}; nothing was changed"})
    return tried


def write_account(account: Account, changed: Iterable[str], *, tried: Tried) -> None:
    """Write an account that was checked: all of a new one, else the fields that changed."""
    if account.secret_ref:
        account.sealed_secret = ""
    if account.pk is None:
        account.save(force_insert=True)
    else:
        account.save(update_fields={*changed, "sealed_secret", "secret_ref"})
    if tried.good:
        breaker.succeeded(account)
