"""The guard of private networks also sees them in every form that IPv6 gives an IPv4 address."""

import socket

import pytest

from pods.base import egress
from pods.base.egress import HostRefused

INSIDE = ("127.0.0.1", "10.0.0.1", "169.254.169.254", "192.168.1.1", "100.64.0.1")
PUBLIC = "8.8.8.8"


def hexed(address: str) -> str:
    return socket.inet_aton(address).hex()


def forms(address: str) -> dict[str, str]:
    """An IPv4 address in the forms that reach it through a gateway."""
    number = hexed(address)
    high, low = number[:4], number[4:]
    return {
        "mapped": f"::ffff:{address}",
        "6to4": f"2002:{high}:{low}::1",
        "NAT64": f"64:ff9b::{high}:{low}",
        "translated": f"::ffff:0:{high}:{low}",
        "compatible": f"::{high}:{low}",
        "ISATAP": f"2606:4700::5efe:{high}:{low}",
        "ISATAP of a public address": f"2606:4700::200:5efe:{high}:{low}",
    }


@pytest.mark.parametrize("address", INSIDE)
@pytest.mark.parametrize("form", list(forms(PUBLIC)))
def test_a_private_address_is_refused_in_every_form(address: str, form: str) -> None:
    with pytest.raises(HostRefused, match="is on a private network"):
        egress.check_host(forms(address)[form], private_too=False)


@pytest.mark.parametrize(
    "address",
    [
        "2001:0:4136:e378:8000:63bf:f5ff:fffe",  # Teredo, of a client at 10.0.0.1
        "2001:0:a00:1:8000:63bf:f7f7:f7f7",  # Teredo, through a server at 10.0.0.1
        "64:ff9b:1::a00:1",  # NAT64 of the local network (RFC 8215)
        "64:ff9b:1::808:808",
        "fec0::1",
        "fd00::1",
        "fe80::1%1",
        "::",
        "::1",
        "ff02::1",
        "2001:db8::1",
    ],
)
def test_addresses_that_only_a_local_network_routes_are_refused(address: str) -> None:
    with pytest.raises(HostRefused):
        egress.check_host(address, private_too=False)


@pytest.mark.parametrize(
    "address",
    [
        PUBLIC,
        "2606:4700::1111",
        *(forms(PUBLIC)[form] for form in ("mapped", "6to4", "NAT64", "ISATAP")),
    ],
)
def test_public_addresses_are_allowed_also_behind_nat64(address: str) -> None:
    egress.check_host(address, private_too=False)


def test_a_connection_to_a_private_address_in_another_form_is_refused() -> None:
    with egress.outside_alone(private_too=False), pytest.raises(egress.Inside):
        socket.create_connection(("64:ff9b::7f00:1", 9), timeout=1)
