"""How an account does, by its row."""

from datetime import timedelta
from typing import Any

import pytest

from pods.accounts import breaker
from pods.models import Account
from tests.support.factories import NOON

SOON, BEFORE = NOON + timedelta(seconds=1), NOON - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("row", "health"),
    [
        ({"enabled": False, "open_until": SOON}, "disabled"),
        ({"open_until": SOON, "failures": 3}, "left alone"),
        ({"open_until": BEFORE, "failures": 3}, "failing"),
        ({"failures": 1, "surveyed_at": NOON}, "failing"),
        ({}, "not surveyed yet"),
        ({"surveyed_at": NOON}, "well"),
    ],
)
def test_the_health_of_an_account(row: dict[str, Any], health: str) -> None:
    assert breaker.health(Account(**row), now=NOON) == health
