"""Connections to Redis that check the server's certificate and its name."""

import base64
import ssl
from typing import Any, Optional
from urllib.parse import urlsplit

import redis


def trust_of(ca: str) -> ssl.SSLContext:
    """What is trusted where a pod was given its own authority: that one, and none of the machine's.

    Raises:
        ValueError: it is not base64 of certificates.
    """
    try:
        return ssl.create_default_context(cadata=base64.b64decode(ca, validate=True))
    except (ValueError, ssl.SSLError) as exc:
        raise ValueError(f"not base64 of certificates: {exc}") from exc


class CheckedConnection(redis.SSLConnection):
    """Checks the server; with `trust` against that alone, whatever the address says.

    redis-py would trust the machine's authorities too. A server without TLS waits for more of the
    handshake, so the error says that this timed out.
    """

    def __init__(self, *, trust: "Optional[ssl.SSLContext]" = None, **given: Any) -> None:
        self._trust = trust
        super().__init__(**given)

    def _wrap_socket_with_ssl(self, sock: Any) -> Any:
        try:
            if self._trust is None:
                return super()._wrap_socket_with_ssl(sock)  # type: ignore[no-untyped-call]
            return self._trust.wrap_socket(sock, server_hostname=self.host)
        except TimeoutError as exc:
            raise redis.ConnectionError("the TLS handshake timed out") from exc


def how_to_connect(url: str, ca: str = "") -> "dict[str, Any]":
    """What redis-py needs to know beside the address.

    Raises:
        ValueError: there is an authority, and the address has no TLS; or it cannot be read.
    """
    has_tls = urlsplit(url).scheme == "rediss"
    if ca and not has_tls:
        raise ValueError("there is an authority to check, and the address is not rediss://")
    if not has_tls:
        return {}
    found: "dict[str, Any]" = {"connection_class": CheckedConnection}
    # before redis-py 6 the name is not checked by default
    return {**found, "trust": trust_of(ca)} if ca else {**found, "ssl_check_hostname": True}
