"""Whether a machine elsewhere can reach a Redis server safely, judged by the server's address alone."""

import re
import socket
from collections.abc import Mapping
from enum import StrEnum
from ipaddress import ip_address
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

from pods.base.egress import Address, is_outside

# Names that no public name server knows: RFC 6761, 6762, 8375 and 9476, and what networks use.
LOCAL_NAMES: Final = re.compile(
    r"(.*\.)?(localhost|localdomain|local|internal|intranet|lan|home|corp|private|home\.arpa|test)"
)


class Unreachable(StrEnum):
    """What is wrong with an address for pods on other people's machines."""

    SOCKET = "socket"
    THIS_MACHINE = "this_machine"
    PRIVATE = "private"
    PLAIN = "plain"
    UNVERIFIED = "unverified"


SAID: Final[Mapping[Unreachable, str]] = {
    Unreachable.SOCKET: "is a socket on one machine",
    Unreachable.THIS_MACHINE: "means the machine that asks",
    Unreachable.PRIVATE: "is an address inside a private network",
    Unreachable.PLAIN: "has no TLS",
    Unreachable.UNVERIFIED: "does not have its certificate checked",
}


def why_unreachable(address: str) -> Unreachable | None:
    """Why rented pods cannot use this address; None: nothing in it speaks against it.

    No name is looked up. So a name that leads inside a private network passes.
    """
    try:
        parts = urlsplit(address)
        host = (parts.hostname or "").rstrip(".")
    except ValueError:
        return None  # the address's own check says so
    if parts.scheme == "unix":
        return Unreachable.SOCKET
    return _of_host(host) or _of_tls(parts)


def _of_host(host: str) -> Unreachable | None:
    number = _number(host)
    if number is None:
        if host in {"", "localhost"} or host.endswith(".localhost"):
            return Unreachable.THIS_MACHINE
        local = "." not in host or LOCAL_NAMES.fullmatch(host)
        return Unreachable.PRIVATE if local else None
    if number.is_loopback or number.is_unspecified:
        return Unreachable.THIS_MACHINE
    return None if is_outside(number) else Unreachable.PRIVATE


def _number(host: str) -> Address | None:
    try:
        return ip_address(host.partition("%")[0])
    except ValueError:
        pass
    try:  # `127.1` and `0x7f000001` are old spellings of an address
        return ip_address(socket.inet_aton(host))  # this reads the text; it asks nobody
    except (OSError, ValueError):
        return None


def _of_tls(parts: SplitResult) -> Unreachable | None:
    if parts.scheme != "rediss":
        return Unreachable.PLAIN
    words = {name: value.lower() for name, value in parse_qsl(parts.query)}
    unchecked = words.get("ssl_cert_reqs", "").removeprefix("cert_") == "none"
    if unchecked or words.get("ssl_check_hostname") in {"false", "no", "0", "f", "n"}:
        return Unreachable.UNVERIFIED
    return None
