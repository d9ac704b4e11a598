"""An account's login at the registry of private images: who may set it, and which image gets it."""

import hashlib
import hmac
import json
import re
from contextlib import suppress
from typing import Final

from django.conf import settings
from django.core.exceptions import ValidationError

from pods.base import sealing
from pods.base.command_name import how_to_run
from pods.models import Account, Installation
from pods.providers.base import RegistryLogin
from pods.providers.images import registry_named, registry_of

LONGEST_PASSWORD: Final = 8_192  # characters; the tokens of Amazon's registry have about 2,800
_HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?(:\d{1,5})?")
# A user or a password travels in a header or in words of a command.
_WORD: Final = re.compile(r"[\x21-\x7e]+")
_COLUMNS: Final = ("registry_host", "registry_user", "sealed_registry_password")


def replace_password(account: Account, password: str) -> None:
    """Give the account another password for its registry, sealed; nothing is written yet.

    Raises:
        ValidationError: no registry takes it. The message does not repeat it.
    """
    said = password.strip()
    if len(said) > LONGEST_PASSWORD or not _WORD.fullmatch(said):
        raise ValidationError(
            {
                "registry_password": f"give 1 to {LONGEST_PASSWORD} printable characters without "
                "blanks, such as an access token of the registry"
            }
        )
    account.sealed_registry_password = sealing.seal(said)


def check(account: Account) -> None:
    """Check the login as a whole, and write the registry by its one name.

    The password belongs to one user of one registry: with another host or user it is asked for again,
    so that no registry gets the password of another.

    Raises:
        ValidationError: with a message for each field that is wrong.
    """
    account.registry_host = registry_named(account.registry_host)
    host, user, sealed = (getattr(account, name) for name in _COLUMNS)
    stored = _stored(account)
    new_password = bool(sealed) and sealed != stored[2]
    if not host and not user and not new_password:
        account.sealed_registry_password = ""
        return
    wrong = {}
    if not _HOST.fullmatch(host):
        wrong["registry_host"] = (
            f"{host!r} is not the host of a registry; give one such as ghcr.io or docker.io"
        )
    if not _WORD.fullmatch(user) or user.startswith("-"):
        wrong["registry_user"] = "give the user of the registry, without blanks and - in front"
    if not sealed:
        wrong["registry_password"] = "give the password, or an access token, of this user"  # noqa: S105
    elif (host, user) != stored[:2] and not new_password:
        wrong["registry_password"] = (
            f"give the password again: the stored one belongs to {stored[1]} at {stored[0]}"
        )
    if wrong:
        raise ValidationError(wrong)


def _stored(account: Account) -> tuple[str, str, str]:
    there = Account.objects.filter(pk=account.pk).values_list(*_COLUMNS).first()
    return ("", "", "") if there is None else (there[0], there[1], there[2])


def check_words(account: Account, pattern: str, rule: str) -> None:
    """Check that the account's provider can pass its login on; `pattern`, `rule`: of Capabilities.

    An account with a login from before this check can still be disabled.

    Raises:
        ValidationError: a create would be refused. No message has the password.
    """
    if not account.registry_host or not pattern:
        return
    own = tuple(getattr(account, name) for name in _COLUMNS)
    if not account.enabled and own == _stored(account):
        return
    said = {"registry_user": account.registry_user}
    with suppress(sealing.WrongKey):  # a stored one that nobody can read now; a create says so
        said["registry_password"] = sealing.unseal(account.sealed_registry_password)
    wrong = {name: word for name, word in said.items() if not re.fullmatch(pattern, word)}
    if wrong:
        raise ValidationError(
            {name: f"give the {name.removeprefix('registry_')} {rule}" for name in wrong}
        )


def login_for(account: Account, image: str) -> RegistryLogin | None:
    """The account's login for this image. None: it has none for the registry of the image.

    Raises:
        sealing.WrongKey: no field key opens it; the message says how to store it again.
    """
    host = account.registry_host
    if not image or registry_of(image) != host:
        return None
    try:
        password = sealing.unseal(account.sealed_registry_password)
    except sealing.WrongKey as exc:
        raise sealing.WrongKey(
            f"the login at {host} was encrypted with another key; add that key to "
            "PODFLEET_FIELD_KEYS, or store the password again with "
            f"`{how_to_run(f'account set {account.name} --registry-password-stdin')}`"
        ) from exc
    owner = f"{Installation.own().slug}-{account.pk}"
    digest = _digest(host, account.registry_user, password)
    return RegistryLogin(
        host=host, user=account.registry_user, password=password, owner=owner, digest=digest
    )


def _digest(host: str, user: str, password: str) -> str:
    """Tells one login from another. Keyed, since a password could be guessed from a plain hash."""
    key = b"registry-login:" + settings.FIELD_KEYS[0].encode()
    said = json.dumps([host, user, password]).encode()
    return hmac.new(key, said, hashlib.sha256).hexdigest()[:16]


def refused(account: Account, image: str) -> str:
    """What a registry's refusal means, for an operator: what was refused, and to whom."""
    host = registry_of(image)
    if account.registry_host == host:
        return f"the registry {host} refused the login of account {account.name} for {image}"
    return (
        f"the registry {host} does not give {image} without a login, and account {account.name} "
        f"has none there"
    )
