"""Connects to an address in a process that stays outside private networks: `outside HOW HOST PORT`."""

import smtplib
import socket
import sys
from collections.abc import Callable
from urllib.request import urlopen

from pods.base import egress

Send = Callable[[str, int], object]


def _by_name(host: str, port: int) -> None:
    socket.socket().connect((host, port))


def _datagram(host: str, port: int) -> object:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b"x", (host, port))


WAYS: dict[str, Send] = {
    "socket": lambda host, port: socket.create_connection((host, port), timeout=5),
    "by name": _by_name,
    "datagram": _datagram,
    "http": lambda host, port: urlopen(f"http://{host}:{port}/", timeout=5),
    "mail": lambda host, port: smtplib.SMTP(host, port, timeout=5),
}


def main(how: str, host: str, port: str) -> None:
    """Print what came of it."""
    egress.stay_outside()
    try:
        WAYS[how](host, int(port))
    except OSError as exc:
        sys.stdout.write(f"refused: {exc}")
    else:
        sys.stdout.write("connected")


if __name__ == "__main__":
    main(*sys.argv[1:])
