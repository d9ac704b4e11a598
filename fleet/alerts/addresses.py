"""The addresses of alert channels: which are allowed, and how they are stored."""

import re
from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote, urlsplit

from django.conf import settings

from pods.base import egress, sealing

# The service has a fixed host: the address holds only names and tokens.
SERVICES: Final = frozenset({"slack", "discord", "tgram", "pagerduty", "opsgenie", "pover"})
# The address names the host to connect to.
HOSTED: Final = frozenset(
    {
        "json",
        "jsons",
        "form",
        "forms",
        "ntfy",
        "ntfys",
        "gotify",
        "gotifys",
        "mmost",
        "mmosts",
        "rocket",
        "rockets",
        "mailto",
        "mailtos",
    }
)
# Other parameters are refused: some, such as `template` and `pgpkey`, read files of this machine.
PARAMETERS: Final = frozenset(
    {
        "from",
        "to",
        "cc",
        "bcc",
        "name",
        "user",
        "pass",
        "smtp",
        "mode",
        "format",
        "method",
        "priority",
        "region",
        "tags",
        "token",
        "channel",
        "footer",
        "image",
        "avatar",
    }
)


OWN_FIELD: Final = re.compile(r"[+:-][A-Za-z][\w-]*\Z")


class BadAddress(ValueError):
    """The address of a channel is not allowed; the message says why, without a secret."""


def check(url: str) -> None:
    """Refuse an address that alerts must not be sent to.

    A host on a private network is refused unless settings.ALLOW_PRIVATE_WEBHOOKS is on: an editor of a
    channel must not reach hosts that only this machine can reach. Names are resolved here, and again
    when a message is sent. The process that sends it refuses a name that resolves differently a moment
    later (docs/decisions/address-guard.md).

    Raises:
        BadAddress: the scheme, a parameter or the host is not allowed.
    """
    try:
        parts = urlsplit(url.strip())
        host = parts.hostname
    except ValueError as exc:
        raise BadAddress("the address cannot be read; write it as scheme://…") from exc
    scheme = parts.scheme.lower()
    if scheme not in SERVICES | HOSTED:
        known = ", ".join(sorted(SERVICES | HOSTED))
        raise BadAddress(f"{scheme or 'no'}:// is not allowed; use one of {known}")
    if not host:
        raise BadAddress(f"{scheme}:// needs a host, a token or a topic after it")
    parameters = _parameters(parts.query)
    if scheme in HOSTED:
        # An address with only a topic uses the public service.
        public = scheme in {"ntfy", "ntfys"} and not parts.path.strip("/") and not parameters
        for name in [] if public else [host, *(v for k, v in parameters if k == "smtp")]:
            check_host(name)


def check_host(host: str) -> None:
    """Refuse a host on a private network, unless settings.ALLOW_PRIVATE_WEBHOOKS is on.

    Raises:
        BadAddress: the host is on a private network, or its name cannot be resolved.
    """
    try:
        egress.check_host(host, private_too=settings.ALLOW_PRIVATE_WEBHOOKS)
    except egress.HostRefused as exc:
        raise BadAddress(str(exc)) from exc


def names_host(url: str) -> bool:
    """Whether the address names a host, instead of a service with a fixed host."""
    return url.strip().partition(":")[0].lower() in HOSTED


def _parameters(query: str) -> Sequence[tuple[str, str]]:
    if ";" in query:
        raise BadAddress("separate parameters with &")
    raw = [part for part in query.split("&") if part]
    # Names with a sign before them, such as `+Name`, are headers and fields of the message.
    wrong = sorted(
        name
        for name in (part.partition("=")[0] for part in raw)
        if name not in PARAMETERS and not OWN_FIELD.match(name)
    )
    if wrong:
        raise BadAddress(f"the parameter {', '.join(wrong)} is not allowed")
    return [(k, unquote(v)) for k, _, v in (part.partition("=") for part in raw)]


def with_prefix(sealed: str) -> str:
    """A sealed address. One that was stored before there was a prefix is the ciphertext alone."""
    return sealed if sealed.startswith(sealing.PREFIX) else sealing.PREFIX + sealed


def unseal(sealed: str) -> str:
    """The address that was sealed with `pods.base.sealing`.

    Raises:
        BadAddress: none of the keys is the one that it was sealed with.
    """
    try:
        return sealing.unseal(with_prefix(sealed))
    except sealing.WrongKey as exc:
        raise BadAddress(
            "the address was encrypted with another key; put that key into PODFLEET_FIELD_KEYS, "
            "or give the address again"
        ) from exc
