"""A number of hours or seconds has an end: one odd fleet must not stop its ticks or any alert."""

import pytest
from django.core.management import CommandError

from fleet.alerts.reconciling import reconcile_alerts
from fleet.models import Fleet
from fleet.tick import ticking
from tests.support.factories import a_fleet
from tests.support.fleet_command import run

pytestmark = pytest.mark.django_db
FIELDS = [
    f.name
    for f in Fleet._meta.get_fields()
    if getattr(f, "get_internal_type", str)() == "FloatField"
]


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e300"])
@pytest.mark.parametrize("field", FIELDS)
def test_a_number_without_an_end_is_refused_at_its_field(field: str, value: str) -> None:
    a_fleet(name="emb")
    before = Fleet.objects.values().get()
    option = f"--{field.replace('_', '-')}={value}"
    with pytest.raises(CommandError, match=field):
        run("set", "emb", option)
    assert Fleet.objects.values().get() == before


def test_there_are_such_fields() -> None:
    assert {"max_pod_hours", "alert_after_hours", "notice_seconds"} <= set(FIELDS)


@pytest.mark.parametrize("hours", [float("inf"), 1e300, 1e18])
def test_a_row_of_an_older_version_with_such_a_number_stops_no_tick_and_no_alert(
    hours: float, redis_url: str
) -> None:
    fleet = a_fleet(name="emb")
    Fleet.objects.update(max_pod_hours=hours, max_stopped_hours=hours, alert_after_hours=hours)
    assert ticking.tick_fleet(fleet.pk) is not None
    reconcile_alerts()
