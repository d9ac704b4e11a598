"""Takes characters that no database stores out of texts that vendors wrote."""

import re
from typing import Any, Final

# PostgreSQL stores no NUL, and half of a surrogate pair cannot be encoded at all.
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")
_REPLACEMENT: Final = "\N{REPLACEMENT CHARACTER}"


def storable(text: str) -> str:
    """The text with U+FFFD for each NUL and each half of a surrogate pair."""
    return _UNSTORABLE.sub(_REPLACEMENT, text)


def make_storable(value: Any) -> None:
    """Replace each text of a new frozen dataclass with slots by its storable form."""
    for name in value.__slots__:
        text = getattr(value, name)
        if isinstance(text, str) and _UNSTORABLE.search(text):
            object.__setattr__(value, name, storable(text))
