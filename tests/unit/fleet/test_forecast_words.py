"""The sentences of a forecast that does not see the end of the backlog."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fleet.models import FleetForecast
from fleet.pages import forecasts
from tests.support.factories import NOON


def a_row(**values: Any) -> FleetForecast:
    known: dict[str, Any] = {"likely_usd": Decimal("7.42"), "sure_usd": Decimal(8), "days": 5}
    return FleetForecast(at=NOON, **{**known, **values})


def test_what_a_part_of_the_items_costs_is_not_shown_as_the_price() -> None:
    told = forecasts.told(a_row(left=900_000))
    assert told is not None
    assert told.cost == "Until then about $7.42, with about 900,000 items left."
    unsure = forecasts.told(a_row(likely_at=NOON + timedelta(hours=2)))
    assert unsure is not None
    assert unsure.cost == "About $7.42 from now on; what it costs at most is not known."


@pytest.mark.parametrize(
    ("values", "rate", "why"),
    [
        ({"because": "no pod has shown it", "lacks_speed": True}, 12.0, "No forecast yet."),
        ({"because": "no pod has shown it", "lacks_speed": True}, 0.0,
         "No forecast: no pod has shown it."),
        ({"because": "it is paused"}, 12.0, "No forecast: it is paused."),
        ({}, 12.0, ""),
    ],
)  # fmt: skip
def test_a_try_from_before_the_first_speed_does_not_say_that_there_is_none(
    values: dict[str, Any], rate: float, why: str
) -> None:
    assert forecasts.why_none(a_row(**values), rate) == why
