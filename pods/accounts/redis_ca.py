"""The authority of a Redis that a pod pins: the manager's file does not exist on the pod."""

import base64
import re
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, urlencode, urlsplit

WORD: Final = "ssl_ca_certs"
# A chain of authorities is shorter; the bundle of a whole system is longer, and machines have their own.
LONGEST: Final = 16_384  # bytes of PEM
CERTIFICATE: Final = re.compile(
    r"-----BEGIN CERTIFICATE-----(.+?)-----END CERTIFICATE-----", re.DOTALL
)


class BadAuthority(Exception):
    """The file with the authority cannot be given to a pod; the message says what would be right."""


def pinned(address: str) -> tuple[str, str]:
    """The address for a pod, and the authority against which alone it checks the server's certificate.

    The authority is base64 of its certificates (protocol.py). "": the address names none, so the
    authorities of the machine count. The bundle of a whole system stays a file's name.

    Raises:
        BadAuthority: the file that the address names cannot be read, or has no certificate.
    """
    parts = urlsplit(address)
    words = dict(parse_qsl(parts.query))
    name = words.pop(WORD, "")
    if not name or parts.scheme != "rediss":
        return address, ""
    try:
        with Path(name).open("rb") as file:
            raw = file.read(LONGEST + 1)
    except (OSError, ValueError) as exc:
        raise BadAuthority(
            f"the authority of Redis cannot be read: {name}: {getattr(exc, 'strerror', exc)}; correct "
            "PODFLEET_REDIS_CA or the word ssl_ca_certs of the address"
        ) from exc
    if len(raw) > LONGEST:
        return address, ""
    return parts._replace(query=urlencode(words)).geturl(), encoded(raw, name)


def encoded(pem: bytes, name: str) -> str:
    """The certificates of a PEM text as one line.

    Raises:
        BadAuthority: there is none in it, or one is damaged.
    """
    try:
        found = [base64.b64decode(x) for x in CERTIFICATE.findall(pem.decode("ascii", "replace"))]
    except ValueError as exc:
        raise BadAuthority(f"{name} has a damaged certificate; give it as PEM") from exc
    if not found:
        raise BadAuthority(
            f"{name} has no certificate; give PEM, which begins with -----BEGIN CERTIFICATE-----"
        )
    return base64.b64encode(b"".join(found)).decode()
