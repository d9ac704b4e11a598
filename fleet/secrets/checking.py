"""Which names and values a fleet's secrets may have. A message never holds a value."""

import re
from typing import Final

from django.core.exceptions import ValidationError

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
LONGEST_NAME: Final = 100
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
