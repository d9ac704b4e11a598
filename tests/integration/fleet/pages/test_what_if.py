"""The page that compares the past of a fleet with other settings changes nothing."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client
from django.urls import reverse

from fleet.models import Fleet
from fleet.roles import make_groups
from tests.support.admin_pages import a_user
from tests.support.factories import a_fleet
from tests.support.recorded_ticks import an_hour

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


@pytest.fixture
def fleet() -> Fleet:
    return a_fleet(name="emb", target_depth_per_pod=500)


def page(client: Client, fleet: Fleet, **asked: Any) -> str:
    return client.get(reverse("admin:fleet_fleet_what_if", args=[fleet.pk]), asked).content.decode()


def test_a_viewer_compares_more_pods_with_what_was(fleet: Fleet) -> None:
    an_hour(fleet)
    make_groups(Group, Permission)
    shown = page(a_user("viewer"), fleet, max_instances="3", spawn_per_tick="2", span="6h")
    assert "with Max pods 3, New pods in one tick 2" in shown
    assert "$3.60" in shown
    assert shown.count("<polyline") == 9  # three drawings of three courses
    assert Fleet.objects.get(pk=fleet.pk).max_instances == 1


def test_without_another_setting_the_model_is_compared_alone(
    admin_client: Client, fleet: Fleet
) -> None:
    an_hour(fleet)
    shown = page(admin_client, fleet)
    assert "as it was" in shown
    assert "with Max pods" not in shown


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"max_instances": "many"}, "No comparison: max_instances: "),
        ({"max_instances": "1"}, "that is the present value"),
        ({"max_instances": "<b>"}, "&lt;b&gt;"),
        ({"span": "a year"}, "as it was"),
    ],
)
def test_what_cannot_be_compared_is_said(
    admin_client: Client, fleet: Fleet, asked: dict[str, str], says: str
) -> None:
    an_hour(fleet)
    assert says in page(admin_client, fleet, **asked)


def test_a_new_fleet_has_nothing_to_compare(admin_client: Client, fleet: Fleet) -> None:
    assert "only 0 decisions recorded" in page(admin_client, fleet)
