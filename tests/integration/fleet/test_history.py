"""The history shows who set which field of a fleet, and when."""

import pytest

from fleet import operating
from fleet.decision.field_words import LABELS
from fleet.models import Fleet
from tests.support.factories import a_fleet

pytestmark = pytest.mark.django_db


def test_the_history_names_every_field_that_was_set_and_who_set_it() -> None:
    fleet = a_fleet()
    changes = {
        "max_instances": 3,
        "spawn_per_tick": 3,
        "max_hourly_usd": "2",
        "total_budget_usd": "50",
        "daily_budget_usd": "20",
        "idle_action": "destroy",
        "target_depth_per_pod": 500,
    }
    operating.edit(fleet, changes, by="o" * 150)
    reason = Fleet.history.latest().history_change_reason
    named = ", ".join(LABELS[name] for name in sorted(changes))
    assert reason == f"set {named} by {'o' * 150}"
