"""Fetches a log from the storage where Vast.ai puts it. The account's key is not sent."""

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

import stamina

from pods.providers.errors import ProviderError, Unavailable
from pods.providers.http import VendorHttp
from pods.providers.wire import LOOPBACK

# Vast.ai's client asks 30 times in 9 s, other clients 10 times in 10 to 20 s (vastai.md §11).
TRIES: Final = 12
FIRST_WAIT_SECONDS: Final = 0.3
LONGEST_WAIT_SECONDS: Final = 2.0
PATIENCE_SECONDS: Final = 20.0


class _NotYet(ProviderError):
    """The storage does not have the log yet. Until then it answers 403 or 404."""


def fetch(url: str, *, loopback: bool) -> str:
    """The text at the URL of a log, as soon as it is there.

    `loopback`: also allow http to this machine, because the vendor is an emulator there.

    Raises:
        Unavailable: the log was not there in time, or the URL may not be asked.
    """
    parts = checked(url, loopback=loopback)
    http = VendorHttp(base_url=f"{parts.scheme}://{parts.netloc}", plain_errors=True)
    params = dict(parse_qsl(parts.query, keep_blank_values=True))
    try:
        for attempt in stamina.retry_context(
            on=(_NotYet, Unavailable),
            attempts=TRIES,
            timeout=PATIENCE_SECONDS,
            wait_initial=FIRST_WAIT_SECONDS,
            wait_max=LONGEST_WAIT_SECONDS,
        ):
            with attempt:
                return _read(http, parts.path, params)
    except _NotYet as exc:
        raise Unavailable(str(exc)) from None
    raise AssertionError("stamina ends with an answer or an error")


def _read(http: VendorHttp, path: str, params: Mapping[str, str]) -> str:
    answer, raw = http.tail(path, params=params, quiet=5.0, total=PATIENCE_SECONDS)
    if not answer.ok:
        raise _NotYet(f"the log is not ready: its storage answers {answer.status}")
    return raw.decode("utf-8", errors="replace")


def checked(url: str, *, loopback: bool) -> SplitResult:
    """The parts of a URL that the vendor named, if it may be asked.

    Raises:
        Unavailable: the URL is not https, or leads into our own network.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if loopback and host in LOOPBACK and parts.scheme in {"http", "https"}:
        return parts
    if parts.scheme != "https" or parts.username or parts.password:
        raise Unavailable("Vast.ai named a log at an address that is not a plain https URL")
    if _is_internal(host):
        raise Unavailable("Vast.ai named a log at an address inside a network")
    return parts


def _is_internal(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host.endswith((".internal", ".local", ".localhost")) or "." not in host
