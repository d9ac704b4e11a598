"""Keeps connections out of private networks where a user chose the address.

Nothing here changes how the rest of the process connects.
"""

import ipaddress
import socket
import sys
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
# IPv6 addresses that a gateway turns into the IPv4 address in their last 32 bits: NAT64 (RFC 6052),
# IPv4-translated (RFC 2765), and ISATAP by the middle of its last half (RFC 5214).
NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")
TRANSLATED: Final = ipaddress.IPv6Network("::ffff:0:0:0/96")
ISATAP: Final = frozenset({0x00005EFE, 0x02005EFE})
LAST_32_BITS: Final = 2**32 - 1
# The events of CPython that name the address of a peer (its table of audit events).
CONNECTIONS: Final = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


class HostRefused(ValueError):
    """The host is on a private network or cannot be resolved; the message says which."""


class Inside(OSError):
    """A connection to a private network was about to be made."""


_look_up = socket.getaddrinfo


class OutsideTransport(httpx.BaseTransport):
    """Sends requests to public addresses alone: it looks a name up, checks it, and connects to that.

    A name that gives another answer a moment later (DNS rebinding) is not asked again. TLS and the
    server still see the name.
    """

    def __init__(self, inner: httpx.BaseTransport | None = None) -> None:
        """`inner` makes the connections."""
        self._inner = inner or httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send the request to the first address of its host that accepts a connection.

        Raises:
            HostRefused: the host is on a private network, or cannot be resolved.
        """
        host = request.url.host
        addresses = list(dict.fromkeys(_addresses(host)))
        _refuse_private(host, addresses)
        for last, address in enumerate(addresses, start=1 - len(addresses)):
            try:
                return self._inner.handle_request(_pinned(request, address))
            except httpx.ConnectError:
                if not last:
                    raise
        raise HostRefused(f"{host} cannot be resolved")

    def close(self) -> None:
        """Close the connections."""
        self._inner.close()


def _pinned(request: httpx.Request, address: Address) -> httpx.Request:
    """The request to an address; its `Host` and the name that TLS checks stay those of the host."""
    return httpx.Request(
        request.method,
        request.url.copy_with(host=str(address)),
        headers=request.headers,
        stream=request.stream,
        extensions={**request.extensions, "sni_hostname": request.url.host},
    )


def transport_to(url: str, *, private_too: bool) -> httpx.BaseTransport | None:
    """The transport for a URL that a user chose; None: the usual one, which a proxy may be part of.

    A proxy looks names up itself, and there it must refuse private networks.
    """
    return None if private_too or _proxied(url) else OutsideTransport()


def _proxied(url: str) -> bool:
    parts, proxies = urlsplit(url), getproxies()
    named = parts.scheme in proxies or "all" in proxies
    return named and not proxy_bypass(parts.hostname or "")


def _host_of(proxy: str) -> str:
    """The host of a proxy, whose address may lack `http://`."""
    return urlsplit(proxy if "://" in proxy else f"//{proxy}").hostname or proxy


def stay_outside() -> None:
    """Keep this whole process from connecting to private networks, whatever library connects.

    It cannot be taken back, so it is for a process that was started for this alone. Only the proxies
    of the environment are allowed besides public addresses.
    """
    allowed = {
        address
        for name, proxy in getproxies().items()
        if name != "no"
        for address in _addresses(_host_of(proxy))
    }

    def watch(event: str, args: tuple[Any, ...]) -> None:
        if event in CONNECTIONS and args[1] is not None:  # None: of a socket that is connected
            _refuse_inside(args[1], allowed)

    sys.addaudithook(watch)


def _refuse_inside(where: Any, allowed: Collection[Address]) -> None:
    """Refuse the address of a connection, unless it is a public one or one of the allowed.

    Raises:
        Inside: it is private, a name (nobody has checked where that leads), or a file.
    """
    try:
        address = ipaddress.ip_address(str(where[0]).partition("%")[0])
    except (ValueError, TypeError, IndexError) as exc:
        raise Inside(f"{where!r} is not the number of a public host") from exc
    if address not in allowed and not is_outside(address):
        raise Inside(f"{address} is on a private network")


def check_host(host: str, *, private_too: bool) -> None:
    """Refuse a host on a private network, unless `private_too`.

    Raises:
        HostRefused: the host is on a private network, or cannot be resolved.
    """
    if not private_too:
        _refuse_private(host, _addresses(host))


def _refuse_private(host: str, addresses: Iterable[Address]) -> None:
    for address in addresses:
        if not is_outside(address):
            raise HostRefused(
                f"{host} is on a private network; use a public host, or set "
                "PODFLEET_ALLOW_PRIVATE_WEBHOOKS"
            )


def _addresses(host: str) -> Iterator[Address]:
    try:
        found = _look_up(host, None, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as exc:
        raise HostRefused(f"{host} cannot be resolved") from exc
    yield from _as_addresses(found)


def is_outside(address: Address) -> bool:
    """Whether an address is on the internet, also where a gateway passes packets to another one."""
    if isinstance(address, ipaddress.IPv6Address):
        inner = _inner(address)
        if inner is not None and not is_outside(inner):
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
