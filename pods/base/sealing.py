"""Encrypts credentials for the database, and decrypts them for use."""

import base64
import hashlib
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

from pods.base.command_name import how_to_run

# A later scheme can tell from it how a secret was encrypted.
PREFIX: Final = "v1:"


class WrongKey(Exception):
    """The stored secret was sealed with a key that was removed since, or it was changed."""


def seal(secret: str) -> str:
    """The secret, encrypted with the first of settings.FIELD_KEYS; safe to store and to show."""
    return PREFIX + _keys().encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str:
    """The secret, decrypted with whichever of settings.FIELD_KEYS sealed it.

    Raises:
        WrongKey: none of the keys opens it. The ciphertext is never returned in place of the secret.
    """
    try:
        if not sealed.startswith(PREFIX):
            raise InvalidToken
        return _keys().decrypt(sealed.removeprefix(PREFIX).encode()).decode()
    except InvalidToken as exc:
        raise WrongKey(
            "the stored secret was encrypted with another key; add that key to PODFLEET_FIELD_KEYS, "
            f"or store the secret again with `{how_to_run('account set NAME --secret-stdin')}`"
        ) from exc


def resealed(sealed: str) -> str:
    """The same secret, sealed with the first of settings.FIELD_KEYS; unchanged if it is already.

    Raises:
        WrongKey: none of the keys opens it.
    """
    secret = unseal(sealed)
    try:
        _cipher(settings.FIELD_KEYS[0]).decrypt(sealed.removeprefix(PREFIX).encode())
    except InvalidToken:
        return seal(secret)
    return sealed


def _keys() -> MultiFernet:
    """The ciphers of all keys."""
    return MultiFernet(map(_cipher, settings.FIELD_KEYS))


def _cipher(key: str) -> Fernet:
    """The cipher of a key. Any text can be a key: it is hashed to the 32 bytes of Fernet."""
    return Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()))
