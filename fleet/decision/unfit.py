"""Which words of a fleet's wish no offer matches. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any

from fleet.decision import placement
from fleet.decision.values import OfferFacts, Wanted
from pods.catalogue.wish_words import wish_text


def why_unfit(offers: Sequence[OfferFacts], wanted: Wanted, *, all_read: bool = True) -> str:
    """The words that no offer matches, or the fewest that none matches together; "" if an offer fits.

    `all_read`: these are all offers of the market. If others may exist, no word can be blamed alone.
    """
    if any(placement.fits(offer, wanted) for offer in offers):
        return ""
    nothing = Wanted()
    asked = {f.name: getattr(wanted, f.name) for f in fields(Wanted)}
    asked = {name: value for name, value in asked.items() if value != getattr(nothing, name)}
    if not all_read:
        return _joined(asked, together=True)
    alone = {name: value for name, value in asked.items() if _none_has(offers, {name: value})}
    if alone:
        return _joined(alone, together=False)
    for name in reversed(tuple(asked)):  # the disk first: offer_query does not name it
        fewer = {other: value for other, value in asked.items() if other != name}
        if _none_has(offers, fewer):
            asked = fewer
    return _joined(asked, together=True)


def _none_has(offers: Sequence[OfferFacts], words: Mapping[str, Any]) -> bool:
    return not any(placement.fits(offer, Wanted(**words)) for offer in offers)


def _joined(words: Mapping[str, Any], *, together: bool) -> str:
    said = " and ".join(wish_text(name, value) for name, value in words.items())
    return f"{said} together" if together and len(words) > 1 else said
