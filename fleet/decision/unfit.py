"""Which words of a fleet's wish no offer matches. Pure."""

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

from fleet.decision import placement
from fleet.decision.values import OfferFacts, Wanted


def why_unfit(offers: Sequence[OfferFacts], wanted: Wanted) -> str:
    """The words that no offer matches, or that none matches together; "" if an offer fits."""
    if any(placement.fits(offer, wanted) for offer in offers):
        return ""
    nothing = Wanted()
    asked = {f.name: getattr(wanted, f.name) for f in fields(Wanted)}
    asked = {name: value for name, value in asked.items() if value != getattr(nothing, name)}
    unmatched = {
        name: value
        for name, value in asked.items()
        if not any(placement.fits(offer, Wanted(**{name: value})) for offer in offers)
    }
    words = [f"{name} {_said(value)}" for name, value in (unmatched or asked).items()]
    return " and ".join(words) + ("" if unmatched or len(words) == 1 else " together")


def _said(value: Any) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return " or ".join(map(str, value))
    return str(value)
