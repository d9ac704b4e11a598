"""Fetches a log from the storage where Vast.ai puts it, without the account's key."""

import ipaddress
from collections.abc import Mapping
from typing import Final
from urllib.parse import SplitResult, parse_qsl, urlsplit

import stamina

from pods.providers.errors import ProviderError, Unavailable
from pods.providers.http import VendorHttp
from pods.providers.wire import LOOPBACK

# The vendor's client asks 30 times in 9 s, others 10 times in 10 to 20 s: vastai.md §11.
TRIES: Final = 12
FIRST_WAIT_SECONDS: Final = 0.3
LONGEST_WAIT_SECONDS: Final = 2.0
PATIENCE_SECONDS: Final = 20.0


class _NotYet(ProviderError):
    """The storage has no log there yet: it answers 403 or 404 until it has."""


def fetch(url: str, *, loopback: bool) -> str:
    """The text at a log's URL, as soon as it is there.

    `loopback`: http to this machine is good too, because the vendor is an emulator on it.

    Raises:
        Unavailable: it was not there in time, or the URL is none that we ask.
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
    """The parts of a URL that the vendor named, where it may be asked at all.

    Raises:
        Unavailable: it is no https, or leads into our own network.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    if loopback and host in LOOPBACK and parts.scheme in {"http", "https"}:
        return parts
    if parts.scheme != "https" or not host or parts.username or parts.password:
        raise Unavailable("Vast.ai named a log at an address that is no plain https URL")
    if host in LOOPBACK or _is_internal(host):
        raise Unavailable("Vast.ai named a log at an address inside a network")
    return parts


def _is_internal(host: str) -> bool:
    try:
        return not ipaddress.ip_address(host).is_global
    except ValueError:
        return host.endswith((".internal", ".local", ".localhost")) or "." not in host
