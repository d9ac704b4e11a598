"""Credentials, encrypted in the database: sealed on the way in, opened where they are used."""

import base64
import hashlib
from typing import Final

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

# So that a later scheme can tell what it has before it.
PREFIX: Final = "v1:"


class WrongKey(Exception):
    """What is stored was sealed with a key that is not among the keys any more, or was changed."""


def seal(secret: str) -> str:
    """The secret, encrypted with the first of settings.FIELD_KEYS; safe to store and to show."""
    return PREFIX + _keys().encrypt(secret.encode()).decode()


def unseal(sealed: str) -> str:
    """The secret that was sealed, with whichever of settings.FIELD_KEYS.

    Raises:
        WrongKey: none of the keys opens it. The ciphertext is never given back as if it were the secret.
    """
    try:
        if not sealed.startswith(PREFIX):
            raise InvalidToken
        return _keys().decrypt(sealed.removeprefix(PREFIX).encode()).decode()
    except InvalidToken as exc:
        raise WrongKey(
            "the stored secret was encrypted with another key; add that key to PODFLEET_FIELD_KEYS, "
            "or store the secret again with `manage.py account set NAME --secret-stdin`"
        ) from exc


def _keys() -> MultiFernet:
    """Any text is good as a key: it is hashed to the 32 bytes that Fernet wants."""
    return MultiFernet(
        Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()))
        for key in settings.FIELD_KEYS
    )
