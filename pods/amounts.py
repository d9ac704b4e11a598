"""Amounts of money as text for people. Pure."""

from decimal import Decimal
from typing import Final

NONE: Final = "–"
CENT: Final = Decimal("0.01")


def usd(amount: Decimal | float | None) -> str:
    """`$1,234.50`; `<$0.01` for what is under a cent and not free; `–` if it is not known."""
    if amount is None:
        return NONE
    exact = Decimal(amount)
    sign, exact = "-" if exact < 0 else "", abs(exact)
    if 0 < exact < CENT:
        return f"{sign}$0.01" if sign else "<$0.01"
    return f"{sign}${exact:,.2f}"


def unit_price(amount: Decimal | float | None) -> str:
    """The price of one item, or of a million: as `usd`, with four digits under ten cents."""
    if amount is None:
        return NONE
    exact = Decimal(amount)
    if Decimal("0.0001") <= exact < Decimal("0.1"):
        return f"${exact:.4f}"
    return usd(exact) if exact == 0 or exact >= Decimal("0.1") else "<$0.0001"


def price_change(before: Decimal, after: Decimal) -> str:
    """`$0.30/h → $0.35/h`; the exact amounts where cents do not tell them apart."""
    if usd(before) != usd(after):
        return f"{usd(before)}/h → {usd(after)}/h"
    return f"${before.normalize():f}/h → ${after.normalize():f}/h"


def change(amount: Decimal) -> str:
    """By how much a sum changed: `+$0.12`, `−$0.12`."""
    return f"{'−' if amount < 0 else '+'}{usd(abs(amount))}"
