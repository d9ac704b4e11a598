"""Checks ids, addresses, texts and amounts that come from a vendor or go to one."""

import json
import re
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from ipaddress import ip_address
from typing import Final
from urllib.parse import quote, unquote, urlsplit

from pods.masking import MASK, without_passwords
from pods.price import is_price
from pods.providers.errors import Refused

LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
# Shorter values ("1", "yes") are in many texts, and no secret is that short.
_SHORTEST_SECRET: Final = 4
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)
_PASSWORD: Final = re.compile(r"://[^\s/@:]*:([^\s/]+)@")
# Control characters except tab and line feed, and characters that change a text's direction.
_CONTROL: Final = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2066-\u2069]"
)


def checked_id(value: str) -> str:
    """An id that is safe in a path. An empty one or `..` would name the whole collection.

    Raises:
        Refused: the text is not an id.
    """
    if not _ID.fullmatch(value):
        raise Refused(
            f"{value[:40]!r} is not a machine id; use letters, digits, '.', '_' and '-' only"
        )
    return value


def checked_base_url(value: str) -> str:
    """The address of an API: https, or http to an emulator on this machine.

    Raises:
        ValueError: the key would be sent unencrypted, or the address has parts that it must not have.
    """
    parts = urlsplit(value)
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise ValueError(
            "base_url is http to another machine; use https, because the key is sent there"
        )
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(
            "base_url is not the address of an API; give for example https://api.example"
        )
    if parts.username or parts.password or parts.query or parts.fragment:
        raise ValueError("base_url has a user, a query or a fragment; give scheme, host and port")
    return value.rstrip("/")


def is_loopback(host: str) -> bool:
    """Whether a host's name or address always means the machine that asks."""
    if host.lower().rstrip(".") in LOOPBACK:
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def secrets_in(values: Iterable[str]) -> Sequence[str]:
    """The texts of an environment to hide: its values, and the passwords in its addresses."""
    hidden: list[str] = []
    for value in values:
        hidden.append(value)
        if match := _PASSWORD.search(value):
            hidden += [match[1], unquote(match[1])]
    return hidden


def cleaned(text: str, secrets: Collection[str] = ()) -> str:
    """A vendor's text without secrets, other credentials and control characters."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            for form in {secret, json.dumps(secret)[1:-1], quote(secret, safe="")}:
                text = text.replace(form, MASK)
    return _CONTROL.sub(" ", without_passwords(text))


def usd(value: object) -> Decimal | None:
    """An amount of money. None where the value cannot be one."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        return None
    amount = Decimal(value)
    return amount if is_price(amount) else None


def moment(value: object) -> datetime | None:
    """A time as vendors write it, in UTC where no zone is given. None where it is not a time.

    The forms: RFC 3339, seconds since 1970, and `2026-08-20 06:16:19.436 +0000 UTC` (RunPod v1).
    """
    try:
        if isinstance(value, str):
            read = datetime.fromisoformat(value.strip().removesuffix(" UTC").replace(" +", "+"))
        elif isinstance(value, int | Decimal) and not isinstance(value, bool):
            read = datetime.fromtimestamp(float(value), UTC)
        else:
            return None
    except (ValueError, OverflowError, OSError):
        return None
    return read if read.tzinfo is not None else read.replace(tzinfo=UTC)
