"""Which words of a fleet's wish leave no offer."""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from fleet.decision import placement
from fleet.decision.unfit import why_unfit
from fleet.decision.values import OfferFacts, Wanted
from pods.catalogue.wish_words import wish_text
from tests.support.examples import examples


def an_offer(gpu_type: str, hourly_usd: str, largest_disk_gb: int = 100) -> OfferFacts:
    return OfferFacts(
        account_id=1,
        key="o",
        gpu_type=gpu_type,
        hourly_usd=Decimal(hourly_usd),
        largest_disk_gb=largest_disk_gb,
    )


CHEAP = Wanted(gpu_types=["H100"], max_hourly_usd=Decimal("0.5"), disk_gb=20)
MARKET = [an_offer("H100 SXM", "2.5"), an_offer("RTX 4090", "0.3"), an_offer("L4", "0.4", 10)]


def test_a_word_that_plays_no_part_is_not_blamed() -> None:
    assert why_unfit(MARKET, CHEAP) == "GPU H100 and Top price of a pod $0.50/h together"


def test_each_word_that_leaves_nothing_by_itself_is_named() -> None:
    dear = Wanted(gpu_types=["H200"], max_hourly_usd=Decimal("0.1"), disk_gb=20)
    assert why_unfit(MARKET, dear) == "GPU H200 and Top price of a pod $0.10/h"


def test_of_a_market_that_was_read_in_part_no_word_is_blamed_alone() -> None:
    part = [an_offer("RTX 4090", "0.3")]
    said = why_unfit(part, CHEAP, all_read=False)
    assert said == "GPU H100 and Top price of a pod $0.50/h and Disk 20 GB together"


def test_of_an_offer_that_fits_nothing_is_said() -> None:
    assert why_unfit(MARKET, Wanted(gpu_types=["L4"])) == ""


WORDS: Mapping[str, Any] = {
    "gpu_types": ["H100"],
    "max_hourly_usd": Decimal("0.5"),
    "disk_gb": 20,
    "min_vram_gb": 24,
    "interruptible": True,
}
OFFERS = st.lists(
    st.builds(
        OfferFacts,
        account_id=st.just(1),
        key=st.just("o"),
        gpu_type=st.sampled_from(["H100 SXM", "L4"]),
        hourly_usd=st.sampled_from([Decimal("0.5"), Decimal("0.6")]),
        largest_disk_gb=st.sampled_from([19, 20, None]),
        vram_gb=st.sampled_from([23, 24, None]),
        interruptible=st.booleans(),
    ),
    max_size=5,
)


@given(offers=OFFERS, names=st.sets(st.sampled_from(sorted(WORDS))))
@settings(max_examples=examples(500), deadline=None)
def test_what_is_named_leaves_nothing_and_without_any_of_it_an_offer_is_left(
    offers: list[OfferFacts], names: set[str]
) -> None:
    said = why_unfit(offers, Wanted(**{name: WORDS[name] for name in names}))
    named = {name for name in WORDS if wish_text(name, WORDS[name]) in said}
    assert named <= names

    def left(words: set[str]) -> bool:
        wish = Wanted(**{name: WORDS[name] for name in words})
        return any(placement.fits(offer, wish) for offer in offers)

    if not named:
        assert left(names) or not offers
    elif said.endswith(" together"):
        assert not left(named)
        assert all(left(named - {name}) for name in named)
    else:
        assert not any(left({name}) for name in named)
