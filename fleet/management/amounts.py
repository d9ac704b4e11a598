"""Amounts that a person typed in the options of a command."""

from argparse import ArgumentTypeError
from decimal import Decimal, InvalidOperation
from typing import Final

from fleet.quoting import MOST_ITEMS

MOST_USD: Final = 10**8
LONGEST_NUMBER: Final = 40  # digits; Python refuses to read very long ones


def items(text: str) -> int:
    """A number of items, such as 60000000, 60,000,000 or 60_000_000.

    Raises:
        ArgumentTypeError: it is none, or above 10**12.
    """
    plain = text.replace(",", "").replace("_", "")
    known = plain.isascii() and plain.isdigit() and len(plain) <= LONGEST_NUMBER
    if not known or int(plain) > MOST_ITEMS:
        raise ArgumentTypeError(
            f"{text!r}: give a whole number of items up to {MOST_ITEMS:,}, such as 60_000_000"
        )
    return int(plain)


def usd(text: str) -> Decimal:
    """An amount or a price above 0, with or without a dollar sign.

    Raises:
        ArgumentTypeError: it is none.
    """
    try:
        found = Decimal(text.removeprefix("$"))
    except InvalidOperation:
        found = Decimal("NaN")
    if not found.is_finite() or not 0 < found < MOST_USD:
        raise ArgumentTypeError(f"{text!r}: give USD above 0 and below {MOST_USD:,}, such as 0.92")
    return found
