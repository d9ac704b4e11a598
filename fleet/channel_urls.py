"""The addresses of alert channels: which are allowed, and how they are kept."""

import base64
import hashlib
import ipaddress
import re
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# The host is the service's own: the address holds names and tokens alone.
SERVICES: Final = frozenset({"slack", "discord", "tgram", "pagerduty", "opsgenie", "pover"})
# The address names a host that we would connect to.
HOSTED: Final = frozenset(
    {
        "json",
        "jsons",
        "form",
        "forms",
        "ntfy",
        "ntfys",
        "gotify",
        "gotifys",
        "mmost",
        "mmosts",
        "rocket",
        "rockets",
        "mailto",
        "mailtos",
    }
)
# Others are refused: `template`, `pgpkey` and their like read files of this machine.
PARAMETERS: Final = frozenset(
    {
        "from",
        "to",
        "cc",
        "bcc",
        "name",
        "user",
        "pass",
        "smtp",
        "mode",
        "format",
        "method",
        "priority",
        "region",
        "tags",
        "token",
        "channel",
        "footer",
        "image",
        "avatar",
    }
)


OWN_FIELD: Final = re.compile(r"[+:-][A-Za-z][\w-]*\Z")


class BadAddress(ValueError):
    """The address of a channel is not allowed; the message says why, and names no secret."""


def check(url: str) -> None:
    """Refuse what alerts must not be sent to.

    A host may not be of a private network, unless settings.ALLOW_PRIVATE_WEBHOOKS: whoever edits a
    channel must not reach what only this machine can. Names are resolved here, and again when a
    message is sent. `outside_alone` catches a name that answers differently a moment later
    (docs/decisions/address-guard.md).

    Raises:
        BadAddress: the scheme, a parameter or the host is not allowed.
    """
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname or ""
    except ValueError as exc:
        raise BadAddress("the address cannot be read; write it as scheme://…") from exc
    scheme = parts.scheme.lower()
    if scheme not in SERVICES | HOSTED:
        known = ", ".join(sorted(SERVICES | HOSTED))
        raise BadAddress(f"{scheme or 'no'}:// is not allowed; use one of {known}")
    if not host:
        raise BadAddress(f"{scheme}:// needs a host, a token or a topic behind it")
    parameters = _parameters(parts.query)
    if scheme in HOSTED:
        # A topic alone is one of the public service.
        public = scheme in {"ntfy", "ntfys"} and not parts.path.strip("/") and not parameters
        for name in [] if public else [host, *(v for k, v in parameters if k == "smtp")]:
            check_host(name)


def names_host(url: str) -> bool:
    """Whether the address names a host, not a service that everybody knows."""
    return url.strip().partition(":")[0].lower() in HOSTED


def _parameters(query: str) -> Sequence[tuple[str, str]]:
    if ";" in query:
        raise BadAddress("write parameters with & between them")
    raw = [part for part in query.split("&") if part]
    # `+Name` and its like are headers and fields of the message.
    wrong = sorted(
        name
        for name in (part.partition("=")[0] for part in raw)
        if name not in PARAMETERS and not OWN_FIELD.match(name)
    )
    if wrong:
        raise BadAddress(f"the parameter {', '.join(wrong)} is not allowed")
    return [(k, unquote(v)) for k, _, v in (part.partition("=") for part in raw)]


class Inside(OSError):
    """A name led into a private network when it was connected to, whatever it said before."""


_look_up = socket.getaddrinfo
_outside_alone: ContextVar[bool] = ContextVar("outside_alone", default=False)


def _checked_look_up(*args: Any, **options: Any) -> Any:
    found = _look_up(*args, **options)
    if _outside_alone.get():
        for address in _as_addresses(found):
            if not _is_outside(address):
                raise Inside(f"{args[0]} leads to a private network")
    return found


# For good: what a library connects to is what its own look-up answers, so it is there that a name
# which answers differently from one time to the next (DNS rebinding) is caught.
socket.getaddrinfo = _checked_look_up


@contextmanager
def outside_alone() -> Iterator[None]:
    """Within the block this thread connects to no private network, unless the settings allow it.

    A connection that is refused so fails with an OSError (`Inside`). Behind a proxy it is the proxy
    that looks names up, and itself it may well be inside.
    """
    token = _outside_alone.set(not settings.ALLOW_PRIVATE_WEBHOOKS and not getproxies())
    try:
        yield
    finally:
        _outside_alone.reset(token)


def check_host(host: str) -> None:
    """Refuse a host on a private network, unless settings.ALLOW_PRIVATE_WEBHOOKS.

    Raises:
        BadAddress: it is on one, or cannot be resolved.
    """
    if settings.ALLOW_PRIVATE_WEBHOOKS:
        return
    for address in _addresses(host):
        if not _is_outside(address):
            raise BadAddress(
                f"{host} is on a private network; use a public host, or set "
                "PODFLEET_ALLOW_PRIVATE_WEBHOOKS"
            )


def _addresses(host: str) -> Iterator[Address]:
    try:
        found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as exc:
        raise BadAddress(f"{host} cannot be resolved") from exc
    yield from _as_addresses(found)


def _is_outside(address: Address) -> bool:
    return address.is_global and not address.is_multicast


def _as_addresses(found: Any) -> Iterator[Address]:
    for *_, where in found:
        address = ipaddress.ip_address(str(where[0]).partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        yield mapped or address


def seal(url: str) -> str:
    """The address, encrypted with the first of settings.FIELD_KEYS."""
    return _keys().encrypt(url.encode()).decode()


def unseal(sealed: str) -> str:
    """The address that was sealed.

    Raises:
        BadAddress: none of the keys is the one that it was sealed with.
    """
    try:
        return _keys().decrypt(sealed.encode()).decode()
    except InvalidToken as exc:
        raise BadAddress(
            "the address was encrypted with another key; put that key into PODFLEET_FIELD_KEYS, "
            "or give the address again"
        ) from exc


def _keys() -> MultiFernet:
    return MultiFernet(
        Fernet(base64.urlsafe_b64encode(hashlib.sha256(key.encode()).digest()))
        for key in settings.FIELD_KEYS
    )
