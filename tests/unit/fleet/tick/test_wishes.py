"""What a fleet's offer_query means, and which values of it are refused."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fleet.decision.values import Wanted
from fleet.models import Fleet
from fleet.tick import wishes


@pytest.mark.parametrize(
    ("query", "error"),
    [
        (["H100"], "give names and values"),
        ({"gpus": ["H100"]}, "gpus unknown; use gpu_types"),
        ({"min_vram_gb": "much"}, "min_vram_gb is 'much'; give a whole number of GB"),
        ({"min_reliability": 1.1}, "a share from 0 to 1"),
        ({"min_reliability": -0.1}, "a share from 0 to 1"),
    ],
)
def test_a_query_that_cannot_be_read_is_refused(query: Any, error: str) -> None:
    with pytest.raises(ValueError, match=error):
        wishes.wanted(Fleet(offer_query=query))


@pytest.mark.parametrize("reliability", [None, 0, 1])
def test_a_value_that_is_left_open_is_open(reliability: float | None) -> None:
    query = {"gpu_types": ["H100", "h100"], "min_vram_gb": None, "min_reliability": reliability}
    wish = wishes.wanted(Fleet(offer_query=query, disk_gb=33))
    assert (len(wish.gpu_types), wish.min_vram_gb, wish.disk_gb) == (1, None, 33)
    assert wish.min_reliability == reliability
    assert wishes.query_of(wish).disk_gb == 33


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"min_vram_gb": 0}, "min_vram_gb is 0; give whole GB from 1 to 10000"),
        ({"min_vram_gb": 10_001}, "min_vram_gb is 10001"),
        ({"max_hourly_usd": Decimal(0)}, "max_hourly_usd is 0; give USD, up to 100000"),
        ({"min_remaining": timedelta(seconds=-1)}, "min_remaining is -1; give seconds"),
        ({"min_remaining": timedelta(days=3651)}, "min_remaining is 315446400"),
    ],
)
def test_a_number_that_no_offer_can_have_is_refused(values: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        wishes.refuse_odd_numbers(Wanted(**values))


@pytest.mark.parametrize(
    "values", [{}, {"min_vram_gb": 1}, {"min_vram_gb": 10_000}, {"min_remaining": timedelta(0)}]
)
def test_a_number_within_its_bounds_passes(values: dict[str, Any]) -> None:
    wishes.refuse_odd_numbers(Wanted(**values))


@pytest.mark.parametrize(
    ("follows", "message", "said"),
    [(True, "min_vram_gb is -5", "Least memory is -5"), (False, "is -5", "is -5")],
)
def test_a_refusal_names_the_value_as_its_reader_knows_it(
    follows: bool, message: str, said: str
) -> None:
    refused = wishes.RefusedWish("min_vram_gb", "is -5", follows_name=follows)
    assert (str(refused), refused.said_of("Least memory")) == (message, said)
