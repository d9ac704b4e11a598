"""What the options of every vendor's account have in common: their names are checked."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any


def check_names(provider: str, given: Mapping[str, Any], options: type) -> None:
    """Refuse an option that the dataclass `options` does not have.

    Raises:
        ValueError: an option is unknown; the message names those that are known.
    """
    known = sorted(f.name for f in fields(options))
    if unknown := sorted(given.keys() - set(known)):
        raise ValueError(f"{provider}: unknown option {unknown[0]!r}; use {', '.join(known)}")
