"""Adds and changes accounts for operators, and tries their credentials with a real call."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

from pods.accounts import breaker, connecting, registry_logins
from pods.accounts.connecting import CannotConnect, Connect
from pods.base import sealing, words
from pods.models import Account, Installation
from pods.plural import plural
from pods.providers import registry
from pods.providers.errors import AuthFailed, ProviderError, TryAgain
from pods.providers.wire import is_loopback

PRICE: Final = "hourly_usd"
# Written with every change, since a form or a command puts them together from more than one field.
SEALED: Final = (
    "sealed_secret",
    "secret_ref",
    "registry_host",
    "registry_user",
    "sealed_registry_password",
)
# Checks of the rooms above, which know who rents from an account (fleet/apps.py). They raise
# ValidationError.
FURTHER_CHECKS: Final[list[Callable[[Account], None]]] = []


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """The result of a real call with an account's credentials."""

    good: bool | None  # None: unknown, because the vendor could not be asked
    says: str
    machines: int | None = None  # how many of our machines it lists
    balance_usd: Decimal | None = None


def try_account(account: Account, *, connect: Connect = connecting.connect) -> Tried:
    """Try the account's credentials: ask for its list of machines.

    Changes nothing, at the vendor or here.
    """
    try:
        provider = connect(account)
        machines = provider.list_tagged(Installation.tag())
        balance = provider.balance() if provider.capabilities.has_balance else None
    except AuthFailed as exc:
        return Tried(good=False, says=f"{account.provider} refuses {_key_of(account)}: {exc}")
    except TryAgain as exc:
        return Tried(good=None, says=f"{account.provider} cannot be asked now: {exc}")
    except (ProviderError, CannotConnect) as exc:
        return Tried(good=False, says=str(exc))
    has_key = bool(account.secret_ref or account.sealed_secret)
    answer = "accepts the key" if has_key else "answers without a key"
    money = "" if balance is None else f", {words.usd(balance)} left"
    ours = f"{plural(len(machines), 'machine')} of ours"
    return Tried(
        good=True,
        says=f"{account.provider} {answer}: {ours}{money}",
        machines=len(machines),
        balance_usd=balance,
    )


def may_cost(account: Account) -> bool:
    """Whether its pods may cost money.

    The price of one's own machines is an option of the account. A vendor's prices come with its offers.
    """
    try:
        options = registry.option_fields_of(account.provider) or ()
    except ValueError:
        return True
    price = next((option for option in options if option.name == PRICE), None)
    if price is None:
        return True
    given = account.options.get(PRICE, price.default)
    try:
        return Decimal(str(given or 0)) != 0
    except ArithmeticError:  # not a number; the account's own form says so
        return True


def is_rented(account: Account) -> bool:
    """Whether its machines are a vendor's, somewhere on the internet.

    One's own machines have their price as an option. A vendor at a loopback address is an emulator,
    whose machines are here.
    """
    try:
        options = registry.option_fields_of(account.provider) or ()
    except ValueError:
        return False  # nobody can rent there
    base_url = account.options.get("base_url")
    host = urlsplit(base_url).hostname if isinstance(base_url, str) else None
    own = any(option.name == PRICE for option in options)
    return not own and not (host and is_loopback(host))


def _key_of(account: Account) -> str:
    """Which key was tried; a form or a command may have given it, so that it is stored nowhere yet."""
    if account.secret_ref:
        return f"the key from {account.secret_ref}"
    if not account.sealed_secret:
        return "a call without a key"
    same = Account.objects.filter(pk=account.pk, sealed_secret=account.sealed_secret)
    return "the key from the stored secret" if same.exists() else "the key that was given"


def save_account(
    account: Account,
    *,
    secret: str | None = None,
    registry_password: str | None = None,
    changes: Mapping[str, Any],
    connect: Connect = connecting.connect,
) -> Tried:
    """Change an account, new or not, after a real call has shown that it works.

    `secret` is stored encrypted and replaces a reference; a new reference replaces a stored secret.
    If the vendor cannot be asked now, the account is saved, and the result says so.

    Raises:
        ValidationError: a value is wrong, or the vendor refuses the credentials; nothing was saved.
    """
    for name, value in changes.items():
        setattr(account, name, value)
    if secret is not None:
        if not secret.strip():
            raise ValidationError({"secret": "the secret is empty; nothing was changed"})
        replace_key(account, secret)
    if registry_password is not None:
        registry_logins.replace_password(account, registry_password)
    tried = check_account(account, connect=connect)
    write_account(account, changes, tried=tried)
    return tried


def replace_key(account: Account, secret: str) -> None:
    """Give the account another key, sealed; nothing is written yet."""
    account.sealed_secret, account.secret_ref = sealing.seal(secret.strip()), ""


def check_account(account: Account, *, connect: Connect = connecting.connect) -> Tried:
    """Check everything that must be right before an account is written, also its key.

    A disabled account is not tried, so that an account with a refused key can be disabled.

    Raises:
        ValidationError: a value is wrong, or the vendor refuses the credentials.
    """
    if account.provider not in registry.names():
        known = ", ".join(registry.names())
        raise ValidationError({"provider": f"no provider {account.provider!r}; known: {known}"})
    account.full_clean()
    registry_logins.check(account)
    refuse_useless_login(account)
    for check in FURTHER_CHECKS:
        check(account)
    if not account.enabled:
        stored = Account.objects.filter(pk=account.pk).first()
        if stored is None or stored.options != account.options:
            connecting.check_options(account)
        return Tried(good=None, says="the account is disabled, so its key was not tried")
    tried = try_account(account, connect=connect)
    if tried.good is False:
        raise ValidationError({"account": f"{tried.says}; nothing was changed"})
    return tried


def refuse_useless_login(account: Account) -> None:
    """Refuse a registry login where nothing logs in with it.

    Raises:
        ValidationError: the provider's machines run no image, or its adapter knows no logins, or not
            this one.
    """
    if not account.registry_host:
        return
    can = connecting.capabilities_of(account)
    if can is not None and can.registry_logins:
        registry_logins.check_words(account, can.login_pattern, can.login_rule)
        return
    raise ValidationError(
        {
            "registry_host": f"{account.provider} takes no login at a registry; leave it empty (RunPod, "
            "Vast.ai and Docker hosts take one)"
        }
    )


def takes_registry_login(account: Account) -> bool:
    """Whether the account's provider can log in at the registry of an image."""
    can = connecting.capabilities_of(account)
    return can is not None and can.registry_logins


def write_account(account: Account, changed: Iterable[str], *, tried: Tried) -> None:
    """Write a checked account: all fields of a new one, otherwise the changed fields."""
    if account.secret_ref:
        account.sealed_secret = ""
    if account.pk is None:
        account.save(force_insert=True)
    else:
        account.save(update_fields={*changed, *SEALED})
    if tried.good:
        breaker.succeeded(account)
