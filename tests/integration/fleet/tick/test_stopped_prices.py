"""What a stopped machine costs, as a fleet reads it from the offers of its accounts."""

from decimal import Decimal
from typing import Any

import pytest

from fleet.decision.values import NewPod
from fleet.models import Fleet
from fleet.tick import requesting
from fleet.tick.market import offers_of
from pods.models import Pod
from tests.support.factories import a_fleet, an_account

pytestmark = pytest.mark.django_db
RENT = {"disk_gb": 20, "gb_hourly_usd": "0.001"}


@pytest.mark.parametrize(
    ("said", "costs"),
    [
        ({}, "0.5"),
        ({"stopped_hourly_usd": None}, "0.5"),
        ({"stopped_hourly_usd": "0"}, "0"),
        ({"stopped_hourly_usd": "0.02", **RENT}, "0.04"),
        (RENT, "0.52"),
    ],
)
def test_a_stopped_machine_costs_what_a_running_one_does_unless_its_offer_says_less(
    said: dict[str, Any], costs: str
) -> None:
    offer = {"key": "o", "hourly_usd": "0.5", "remaining": None, **said}
    account = an_account(offers=[offer])
    fleet: Fleet = a_fleet(accounts=[account])
    (found,) = offers_of([account], disk_gb=40)
    assert found.stopped_hourly_usd == Decimal(costs)
    requesting.request_pods(fleet, [NewPod(offer=found)], because="wanted")
    assert Pod.objects.get().stopped_hourly_usd == Decimal(costs)
