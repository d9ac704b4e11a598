"""Keeps the manager from connecting to private networks when a user chose the address."""

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final
from urllib.request import getproxies

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# IPv6 addresses that a gateway turns into the IPv4 address in their last 32 bits: NAT64 (RFC 6052),
# IPv4-translated (RFC 2765), and ISATAP by the middle of its last half (RFC 5214).
NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
TRANSLATED: Final = ipaddress.IPv6Network("::ffff:0:0:0/96")
ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
LAST_32_BITS: Final = 2**32 - 1


class HostRefused(ValueError):
    """The host is on a private network or cannot be resolved; the message says which."""


class Inside(OSError):
    """A name led to a private network at the time of the connection, although it did not before."""


_look_up = socket.getaddrinfo
_outside_alone: ContextVar[bool] = ContextVar("outside_alone", default=False)


def _checked_look_up(*args: Any, **options: Any) -> Any:
    found = _look_up(*args, **options)
    if _outside_alone.get():
        for address in _as_addresses(found):
            if not _is_outside(address):
                raise Inside(f"{args[0]} leads to a private network")
    return found


# Permanent: a library connects to the answer of its own look-up. Only a check of that look-up
# catches a name that gives a different answer each time (DNS rebinding).
socket.getaddrinfo = _checked_look_up


@contextmanager
def outside_alone(*, private_too: bool) -> Iterator[None]:
    """Keep this thread from connecting to private networks within the block, unless `private_too`.

    A refused connection fails with an OSError (`Inside`). Behind a proxy nothing is checked: the proxy
    looks names up, and may itself be on a private network.
    """
    token = _outside_alone.set(not private_too and not getproxies())
    try:
        yield
    finally:
        _outside_alone.reset(token)


def check_host(host: str, *, private_too: bool) -> None:
    """Refuse a host on a private network, unless `private_too`.

    Raises:
        HostRefused: the host is on a private network, or cannot be resolved.
    """
    if private_too:
        return
    for address in _addresses(host):
        if not _is_outside(address):
            raise HostRefused(
                f"{host} is on a private network; use a public host, or set "
                "PODFLEET_ALLOW_PRIVATE_WEBHOOKS"
            )


def _addresses(host: str) -> Iterator[Address]:
    try:
        found = socket.getaddrinfo(host, None, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as exc:
        raise HostRefused(f"{host} cannot be resolved") from exc
    yield from _as_addresses(found)


def _is_outside(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inner(address)
        if inner is not None and not _is_outside(inner):
            return False
        if address in NAT64 or address.ipv4_mapped is not None:
            return True
        if address.is_reserved or address.is_site_local or address.teredo is not None:
            return False  # `is_global` lets the first two through (CPython 3.11)
    return address.is_global and not address.is_multicast


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """The IPv4 address to which a gateway passes packets for this one; None if there is none."""
    if address.ipv4_mapped is not None or address.sixtofour is not None:
        return address.ipv4_mapped or address.sixtofour
    number = int(address)
    if address in NAT64 or address in TRANSLATED or (number >> 32) & LAST_32_BITS in ISATAP:
        return ipaddress.IPv4Address(number & LAST_32_BITS)
    return None


def _as_addresses(found: Any) -> Iterator[Address]:
    for *_, where in found:
        yield ipaddress.ip_address(str(where[0]).partition("%")[0])
