"""Which hosts the manager may connect to when a user names the address: no private network."""

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
def outside_alone(*, private_too: bool) -> Iterator[None]:
    """Within the block this thread connects to no private network, unless `private_too`.

    A connection that is refused so fails with an OSError (`Inside`). Behind a proxy it is the proxy
    that looks names up, and itself it may well be inside.
    """
    token = _outside_alone.set(not private_too and not getproxies())
    try:
        yield
    finally:
        _outside_alone.reset(token)


def check_host(host: str, *, private_too: bool) -> None:
    """Refuse a host on a private network, unless `private_too`.

    Raises:
        HostRefused: the host is on one, or cannot be resolved.
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
