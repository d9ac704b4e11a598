"""The first page shows the fleets in the order in which they need an operator."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.decision.alert_facts import Severity
from fleet.decision.values import Mode
from fleet.pages.trouble import Standing, standing

WELL: dict[str, Any] = {
    "worst": None, "late": False, "mode": Mode.RUNNING, "depth": 0, "pods": 0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        ({"worst": Severity.CRITICAL}, Standing.CRITICAL),
        ({"worst": Severity.CRITICAL, "mode": Mode.PAUSED}, Standing.CRITICAL),
        ({"late": True}, Standing.CRITICAL),
        ({"worst": Severity.WARNING, "depth": 7}, Standing.WARNING),
        ({"depth": None}, Standing.WARNING),
        ({"depth": 7}, Standing.WORKING),
        ({"pods": 1}, Standing.WORKING),
        ({"worst": Severity.INFO}, Standing.IDLE),
        ({}, Standing.IDLE),
        ({"mode": Mode.PAUSED, "depth": 7}, Standing.PAUSED),
        ({"mode": Mode.STOP_ALL, "depth": None}, Standing.PAUSED),
    ],
)
def test_a_fleet_stands_as_its_worst_fact_says(facts: dict[str, Any], expected: Standing) -> None:
    assert standing(**{**WELL, **facts}) is expected


@given(
    late=st.booleans(),
    mode=st.sampled_from(Mode),
    depth=st.none() | st.integers(0, 9),
    pods=st.integers(0, 3),
)
def test_a_worse_alert_never_moves_a_fleet_down(
    late: bool, mode: Mode, depth: int | None, pods: int
) -> None:
    ranks = [
        standing(worst=worst, late=late, mode=mode, depth=depth, pods=pods)
        for worst in (Severity.CRITICAL, Severity.WARNING, Severity.INFO, None)
    ]
    assert ranks == sorted(ranks)
