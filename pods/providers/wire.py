"""What crosses the wire: ids, addresses and texts, checked before they are used or shown."""

import json
import re
from collections.abc import Collection
from typing import Final
from urllib.parse import quote, urlsplit

from pods.providers.errors import Refused

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
# Shorter values ("1", "yes") are in every text, and no secret is that short.
_SHORTEST_SECRET: Final = 4
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
_USERINFO: Final = re.compile(r"(?<=://)[^\s/@]+@")
_CREDENTIALS: Final = re.compile(r"(?i)\b(bearer|basic)\s+[\w.~+/=-]+")
# Control characters but tab and line feed, and what turns the direction of a text.
_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]"
)


def checked_id(value: str) -> str:
    """An id that may stand in a path: an empty one or `..` would name the whole collection.

    Raises:
        Refused: it is no id.
    """
    if not _ID.fullmatch(value):
        raise Refused(f"{value[:40]!r} is no machine id: letters, digits, '.', '_' and '-' only")
    return value


def checked_base_url(value: str) -> str:
    """The address of an API: https, or http to this machine, where an emulator runs.

    Raises:
        ValueError: the key would be sent in clear, or the address has parts that it must not have.
    """
    parts = urlsplit(value)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError("base_url is http to another machine; use https, the key travels with it")
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError("base_url is no address of an API; give for example https://api.example")
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("base_url has a user, a query or a fragment; give scheme, host and port")
    return value.rstrip("/")


def cleaned(text: str, secrets: Collection[str] = ()) -> str:
    """A vendor's text without the secrets, other credentials and control characters in it."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            for form in {secret, json.dumps(secret)[1:-1], quote(secret, safe="")}:
                text = text.replace(form, "***")
    text = _CREDENTIALS.sub(r"\1 ***", _USERINFO.sub("***@", text))
    return _CONTROL.sub(" ", text)
