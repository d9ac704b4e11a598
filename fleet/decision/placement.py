"""Which of the offers fit, and which is best. Pure."""

from collections.abc import Sequence
from dataclasses import replace

from fleet.decision.values import OfferFacts, Wanted


def fits(offer: OfferFacts, wanted: Wanted) -> bool:
    """Whether an offer is what the fleet asks for; checked here whatever the provider filtered."""
    return all(
        (
            not wanted.gpu_types or offer.gpu_type in wanted.gpu_types,
            not wanted.regions or offer.region in wanted.regions,
            wanted.min_vram_gb is None or (offer.vram_gb or 0) >= wanted.min_vram_gb,
            wanted.max_hourly_usd is None or offer.hourly_usd <= wanted.max_hourly_usd,
            wanted.min_reliability is None or (offer.reliability or 0) >= wanted.min_reliability,
            wanted.interruptible is None or offer.interruptible == wanted.interruptible,
            wanted.min_remaining is None
            or offer.remaining is None
            or offer.remaining >= wanted.min_remaining,
        )
    )


def rank(offers: Sequence[OfferFacts], wanted: Wanted, *, room: int) -> tuple[OfferFacts, ...]:
    """The offers that fit, cheapest first, each as often as it may be rented.

    An offer without a host stands for many machines; one with a host for that machine alone.
    """
    fitting = [offer for offer in offers if fits(offer, wanted)]
    fitting.sort(key=lambda o: (o.hourly_usd, o.account_id, o.key))
    ranked: list[OfferFacts] = []
    for offer in fitting:
        why = f"${offer.hourly_usd}/h, the cheapest that fits"
        ranked += [replace(offer, because=why)] * (1 if offer.host else room)
        if len(ranked) >= room:
            break
    return tuple(ranked[:room])
