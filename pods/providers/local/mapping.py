"""Translates the record and the processes of a local machine into our words."""

import re
from typing import Final

from pods.providers.base import Phase
from pods.providers.errors import NotFound, Refused
from pods.providers.local.folder import Recorded

TOKEN: Final = re.compile(r"[0-9a-zA-Z][0-9a-zA-Z-]{0,63}")
ID_PREFIX: Final = "local-"


def phase(recorded: Recorded, *, running: bool, started: bool) -> Phase:
    """The phase of the machine. `started`: a process was started, whether it still lives or not."""
    if recorded.stopped:
        return Phase.STOPPING if started else Phase.STOPPED
    if running:
        return Phase.RUNNING
    return Phase.FAILED if started else Phase.BOOTING


def token_of(external_id: str) -> str:
    """The client token in the id of a machine.

    Raises:
        NotFound: it is not an id of a local machine.
    """
    token = external_id.removeprefix(ID_PREFIX)
    if not external_id.startswith(ID_PREFIX) or not TOKEN.fullmatch(token):
        raise NotFound(f"{external_id!r} is not an id of a local machine")
    return token


def checked_token(token: str) -> str:
    """A client token that may name a folder.

    Raises:
        Refused: it has other characters than letters, digits and dashes.
    """
    if not TOKEN.fullmatch(token):
        raise Refused(f"{token!r} is not a token; use letters, digits and -")
    return token
