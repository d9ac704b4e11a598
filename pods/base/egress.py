"""Keeps the manager from connecting to private networks when a user chose the address."""

import ipaddress
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.request import getproxies

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


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
    return address.is_global and not address.is_multicast


def _as_addresses(found: Any) -> Iterator[Address]:
    for *_, where in found:
        address = ipaddress.ip_address(str(where[0]).partition("%")[0])
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        yield mapped or address
