"""Encrypts every stored secret with the present field key: of accounts, channels, fleets and people."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from django.db.models import Model

from fleet.alerts import addresses
from fleet.models import Channel, IssuedKeys, SecondFactor, Secret
from pods.base import sealing
from pods.models import Account


@dataclass(slots=True, kw_only=True)
class Resealed:
    """What was done."""

    changed: int = 0
    good: int = 0  # were encrypted with the present key already
    lost: list[str] = field(default_factory=list)  # no key opens them


def lost_secrets() -> list[str]:
    """The stored secrets that no field key opens. Changes nothing."""
    return [what for what, _, _, sealed in _stored() if not _opens(sealed)]


def reseal() -> Resealed:
    """Encrypt what was encrypted with an older key anew. Safe to kill at any line and to run again."""
    done = Resealed()
    for what, row, column, sealed in _stored():
        _reseal(row, column, sealed, what, done)
    return done


def _stored() -> Iterator[tuple[str, Model, str, str]]:
    """Each stored secret: what it is, its row and column, and the ciphertext."""
    for account in Account.objects.exclude(sealed_secret="").order_by("name"):
        yield f"account {account.name}", account, "sealed_secret", account.sealed_secret
    for account in Account.objects.exclude(sealed_registry_password="").order_by("name"):
        what = f"registry login of account {account.name}"
        yield what, account, "sealed_registry_password", account.sealed_registry_password
    for channel in Channel.objects.order_by("name"):
        sealed = addresses.with_prefix(channel.sealed_url)
        yield f"channel {channel.name}", channel, "sealed_url", sealed
    for secret in Secret.objects.select_related("fleet").order_by("fleet__name", "name"):
        what = f"secret {secret.name} of {secret.fleet.name}"
        yield what, secret, "sealed_value", secret.sealed_value
    for keys in IssuedKeys.objects.exclude(sealed_value="").select_related("fleet"):
        yield f"the issued keys of {keys.fleet.name}", keys, "sealed_value", keys.sealed_value
    for factor in SecondFactor.objects.select_related("user").order_by("user__username"):
        yield str(factor), factor, "sealed_key", factor.sealed_key


def _opens(sealed: str) -> bool:
    try:
        sealing.unseal(sealed)
    except sealing.WrongKey:
        return False
    return True


def _reseal(row: Model, column: str, sealed: str, what: str, done: Resealed) -> None:
    before: Any = getattr(row, column)
    try:
        after = sealing.resealed(sealed)
    except sealing.WrongKey:
        done.lost.append(what)
        return
    if after == before:
        done.good += 1
        return
    # A row that somebody changed meanwhile has the present key.
    same = type(row)._default_manager.filter(pk=row.pk, **{column: before})
    done.changed += same.update(**{column: after})
