"""The connections of a process to the vendors, and how each is opened."""

import atexit
import logging
import os
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

import httpx

from pods.providers.wire import LOOPBACK

# RunPod's proxy answers 403 to a user agent that looks like a script (providers/runpod.md §0).
USER_AGENT: Final = "podfleet/0.1"
# At DEBUG these loggers write headers. `observed.py` logs what was called.
_TALKATIVE: Final = ("httpx", "httpcore")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tls:
    """The files of the client's certificate, and of the authority that signed the server's one."""

    ca: str
    cert: str
    key: str


def open_client(base_url: str, uds: str | None, tls: Tls | None) -> httpx.Client:
    """A client that never logs a header, follows no redirect and keeps a few connections."""
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    limits = httpx.Limits(max_connections=20, max_keepalive_connections=10, keepalive_expiry=30.0)
    local = urlsplit(base_url).hostname in LOOPBACK  # so is an engine's socket: http://localhost
    return httpx.Client(
        headers={"User-Agent": USER_AGENT, "Accept-Encoding": "gzip"},
        follow_redirects=False,
        # A proxy in the environment is for the network, not for this machine.
        trust_env=not local,
        transport=httpx.HTTPTransport(uds=uds, limits=limits) if uds is not None else None,
        limits=limits,
        verify=_trust(base_url, tls),
    )


def _trust(base_url: str, tls: Tls | None) -> ssl.SSLContext:
    if tls is not None:
        context = ssl.create_default_context(cafile=tls.ca)
        context.load_cert_chain(tls.cert, tls.key)
        return context
    if base_url.startswith("http://"):
        return ssl.SSLContext(
            ssl.PROTOCOL_TLS_CLIENT
        )  # trusts nobody; loading the authorities takes 20 ms
    return httpx.create_ssl_context()


OpenClient = Callable[[str, str | None, Tls | None], httpx.Client]


class Clients:
    """The connections of a process: one httpx client for each address and secret."""

    def __init__(self, open_one: OpenClient = open_client) -> None:
        """`open_one` makes the client of an address."""
        self._open_one = open_one
        self._opened: dict[tuple[int, str, str | None, Tls | None, str], httpx.Client] = {}

    def client(
        self, base_url: str, uds: str | None, tls: Tls | None, secrets: Sequence[str]
    ) -> httpx.Client:
        """The client of an address. A process never uses one that it inherited by a fork."""
        account = sha256("\0".join(secrets).encode()).hexdigest()[:16]
        key = (os.getpid(), base_url, uds, tls, account)
        client = self._opened.get(key)
        if client is None:
            client = self._opened.setdefault(key, self._open_one(base_url, uds, tls))
        return client

    def close(self) -> None:
        """Close the connections of this process. The next call opens a new one."""
        for key in [k for k in self._opened if k[0] == os.getpid()]:
            self._opened.pop(key).close()


# All adapters of a process share its connections. They are closed when the process ends.
CLIENTS = Clients()
atexit.register(CLIENTS.close)
