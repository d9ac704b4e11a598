"""Refuses a name that nobody knows, and names the known ones that look like it. Pure."""

from collections.abc import Iterable
from difflib import get_close_matches
from typing import Final

MOST_NAMED: Final = 3
# difflib's own default is 0.6, which does not find "H1000" for a short name such as "H100".
ALIKE: Final = 0.5


class UnknownName(ValueError):
    """A name that neither the catalogue nor a survey knows; the message has the nearest ones."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UnknownName:
    """The error for a name; `known`: the names to choose the nearest from."""
    spelled = {candidate.casefold(): candidate for candidate in known}
    alike = get_close_matches(name.casefold(), spelled, n=MOST_NAMED, cutoff=ALIKE)
    if not alike:
        return UnknownName(f"{name!r} is not a known {kind}")
    return UnknownName(
        f"{name!r} is not a known {kind}; did you mean {' or '.join(spelled[a] for a in alike)}?"
    )
