"""Takes passwords and other credentials out of texts that people read."""

import re
from typing import Any, Final

MASK: Final = "***"
# To the last @ before a slash: a password may hold an @ that nobody escaped.
USERINFO: Final = re.compile(r"(?<=://)[^\s/]*@")
SECRET_NAME: Final = re.compile(
    r"(key|token|secret|password|passwd|authorization|credential)", re.IGNORECASE
)
IN_QUERY: Final = re.compile(
    r"([?&](?:[\w-]*(?:key|token|secret|password|passwd))=)[^&\s\"'<>]+", re.IGNORECASE
)
CREDENTIALS: Final = re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]+", re.IGNORECASE)


def without_passwords(text: str) -> str:
    """The text without the users and passwords of the addresses in it, and without bearer tokens."""
    text = IN_QUERY.sub(rf"\1{MASK}", USERINFO.sub(f"{MASK}@", text))
    return CREDENTIALS.sub(rf"\1 {MASK}", text)


def without_values(value: Any) -> Any:
    """A JSON value with a mask for each text in it: the names stay."""
    if isinstance(value, dict):
        return {name: without_values(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [without_values(inner) for inner in value]
    return MASK if isinstance(value, str) and value else value


def without_secrets(value: Any) -> Any:
    """A JSON value without passwords in its addresses, and without values that a name calls secret."""
    if isinstance(value, dict):
        return {
            name: without_values(inner) if SECRET_NAME.search(name) else without_secrets(inner)
            for name, inner in value.items()
        }
    if isinstance(value, list):
        return [without_secrets(inner) for inner in value]
    return without_passwords(value) if isinstance(value, str) else value
