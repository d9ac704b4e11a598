"""Which names and values a fleet's secrets may have. A message never holds a value."""

import re
from typing import Final
from urllib.parse import urlsplit

from django.core.exceptions import ValidationError

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LONGEST_NAME: Final = 100
# With the first one, pods get short-lived keys (issuing.py). The last one is a name of Amazon's tools.
ROLE: Final = "AWS_ASSUME_ROLE_ARN"
ROLE_SECONDS: Final = "AWS_ASSUME_ROLE_SECONDS"
STS_ENDPOINT: Final = "AWS_ENDPOINT_URL_STS"
ROLE_ARN: Final = re.compile(r"arn:[a-z0-9-]+:iam:[a-z0-9-]*:[a-z0-9]*:role/[\x21-\x7e]{1,512}")
# Of AWS: docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRole.html (2026-12-01)
SHORTEST_SECONDS: Final = 900
LONGEST_SECONDS: Final = 43_200
LARGEST: Final = 64 * 1024  # bytes of one value
LARGEST_IN_ALL: Final = 1024 * 1024  # bytes of the names and values of one fleet
# Variables that decide what runs on a pod, or that belong to Podfleet. They are compared in capitals.
RESERVED: Final = frozenset({
    "PATH", "REDIS_URL", "HOME", "SHELL", "USER", "LOGNAME", "PWD", "OLDPWD", "TMPDIR", "TEMP", "TMP",
    "IFS", "ENV", "BASH_ENV", "GLIBC_TUNABLES", "LANG", "TZ", "TERM", "HOSTNAME",
})  # fmt: skip
RESERVED_PREFIXES: Final = ("PODFLEET_", "PYTHON", "LD_", "DYLD_", "LC_", "BASH_FUNC_", "GCONV_")


def check_name(name: str) -> None:
    """Check the name of a secret.

    Raises:
        ValidationError: it is not the name of an environment variable, or it is reserved.
    """
    if not NAME.fullmatch(name) or len(name) > LONGEST_NAME:
        raise ValidationError(
            {
                "key": "this is not the name of an environment variable; use letters, digits and _, as "
                f"in HF_TOKEN, at most {LONGEST_NAME}"
            }
        )
    if name.upper() in RESERVED or name.upper().startswith(RESERVED_PREFIXES):
        raise ValidationError(
            {
                "key": f"{name} is reserved: it decides what runs on a pod, or belongs to Podfleet; "
                "give another name"
            }
        )


def check_value(value: str) -> None:
    """Check the value of a secret.

    Raises:
        ValidationError: it is empty, too large, or no environment variable can hold it.
    """
    if not value:
        raise ValidationError({"value": "it is empty; `fleet secret remove` removes a secret"})
    if "\0" in value:
        raise ValidationError({"value": "it holds the character NUL, which no variable can hold"})
    try:
        size = size_of(value)
    except UnicodeEncodeError as exc:
        raise ValidationError({"value": "it is not text in UTF-8; encode it as base64"}) from exc
    if size > LARGEST:
        raise ValidationError({"value": f"it has {size:,} bytes; a secret has at most {LARGEST:,}"})


def check_meaning(name: str, value: str) -> None:
    """Check the value of a secret that says how short-lived keys are issued.

    Raises:
        ValidationError: it cannot be used.
    """
    if name == ROLE and not ROLE_ARN.fullmatch(value):
        raise ValidationError(
            {
                "value": f"{ROLE} is not a role; give its ARN, as in arn:aws:iam::123456789012:role/pods"
            }
        )
    if name == ROLE_SECONDS and not _is_within(value):
        raise ValidationError(
            {
                "value": f"{ROLE_SECONDS} is the life of issued keys; give {SHORTEST_SECONDS} to "
                f"{LONGEST_SECONDS} seconds"
            }
        )
    if name == STS_ENDPOINT and not _is_address(value):
        raise ValidationError(
            {
                "value": f"{STS_ENDPOINT} is not an address; give https://host or http://host:port, "
                "without a password"
            }
        )


def _is_within(value: str) -> bool:
    digits = value.isascii() and value.isdigit() and len(value) <= len(str(LONGEST_SECONDS))
    return digits and SHORTEST_SECONDS <= int(value) <= LONGEST_SECONDS


def _is_address(value: str) -> bool:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        return False
    plain = parts.path in {"", "/"} and not (parts.query or parts.fragment or "@" in parts.netloc)
    return (
        parts.scheme in {"https", "http"} and bool(parts.hostname) and plain and value.isprintable()
    )


def check_sum(size: int) -> None:
    """Check the bytes of all secrets of a fleet.

    Raises:
        ValidationError: they are too many.
    """
    if size > LARGEST_IN_ALL:
        raise ValidationError(
            {
                "value": f"the fleet's secrets would have {size:,} bytes in all; they have at most "
                f"{LARGEST_IN_ALL:,}, so remove others first"
            }
        )


def size_of(value: str) -> int:
    """Bytes of a value.

    Raises:
        UnicodeEncodeError: it has none.
    """
    return len(value.encode())
