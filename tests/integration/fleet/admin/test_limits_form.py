"""The form of the limits of the installation."""

import html
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from fleet.models import Limits
from pods.states import READY, TERMINATED
from tests.support.admin_pages import a_user, fields_of
from tests.support.factories import a_fleet, a_pod

pytestmark = pytest.mark.django_db
LIMITS = "/admin/fleet/limits/"


@pytest.fixture
def root(client: Client, django_user_model: Any) -> Client:
    client.force_login(django_user_model.objects.create_superuser("root", password="x"))
    return client


def shown(client: Client) -> str:
    return html.unescape(client.get(LIMITS).content.decode())


def test_the_menu_opens_the_form_with_what_is_in_use(root: Client) -> None:
    fleet = a_fleet()
    for state in (READY, READY, TERMINATED):
        a_pod(fleet, state, hourly_usd=Decimal("0.5"))
    page = shown(root)
    assert "Most pods at once, all fleets (now 2)" in page
    assert "Highest spend per hour, all fleets (now $1.00/h)" in page
    assert "No limit. Nothing stops spending across fleets." in page.replace("no limit", "No limit")
    assert 'name="max_instances"' in page


def test_the_form_saves_from_there_and_says_when_it_is_in_force(root: Client) -> None:
    sent = {**fields_of(Limits.get()), "max_instances": "7", "max_hourly_usd": ""}
    page = root.post(LIMITS, sent, follow=True)
    assert "Saved. In force from the next tick of each fleet." in page.content.decode()
    limits = Limits.get()
    assert (limits.max_instances, limits.max_hourly_usd, limits.version) == (7, None, 1)
    assert (
        Limits.history.latest().history_change_reason == "set Most pods at once, all fleets by root"
    )
    page = html.unescape(root.post(LIMITS, {**sent, "max_instances": "x"}).content.decode())
    said = "Most pods at once, all fleets (now 0)</a> is 'x'; give a whole number"
    assert said in page
    assert "(now 0)</a>: Most pods" not in page


def test_a_viewer_sees_the_limits_and_no_box(root: Client) -> None:
    Limits.made()
    Limits.objects.update(max_instances=7)
    viewer = a_user("viewer")
    page = shown(viewer)
    assert "Now: 0 pods, $0.00/h, $0.00 today." in page
    assert 'name="max_instances"' not in page
    assert "7" in page
    assert viewer.post(LIMITS, {"mode": "paused"}).status_code == 403
    assert Limits.get().mode == "running"
    assert reverse("admin:fleet_limits_changelist") == LIMITS
