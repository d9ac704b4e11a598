"""Ports that a person typed."""

from argparse import ArgumentTypeError
from typing import Final

HIGHEST_PORT: Final = 65_535


def port(text: str) -> int:
    """A port that a person typed; 0: any free port.

    Raises:
        ArgumentTypeError: it is not a port.
    """
    if not (text.isascii() and text.isdigit() and int(text) <= HIGHEST_PORT):
        raise ArgumentTypeError(f"{text!r} is not a port; give a number from 0 to {HIGHEST_PORT}")
    return int(text)
