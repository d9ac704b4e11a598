"""STOP ALL in the admin names the pods that it will destroy, and asks first."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from fleet.models import Fleet
from pods.states import FAILED, READY
from tests.support.admin_pages import logged_in_with
from tests.support.factories import a_fleet, a_pod

pytestmark = pytest.mark.django_db


def post(client: Client, fleet: Fleet, **values: str) -> Any:
    values = {"action": "stop_everything", "_selected_action": str(fleet.pk), **values}
    return client.post(reverse("admin:fleet_fleet_changelist"), values)


def test_stop_all_names_what_it_destroys_and_changes_nothing_until_it_is_confirmed(
    admin_client: Client,
) -> None:
    fleet, other = a_fleet(), a_fleet()
    doomed, ended, elsewhere = a_pod(fleet), a_pod(fleet, FAILED), a_pod(other, READY)
    page = post(admin_client, fleet).content.decode()
    assert doomed.name in page
    assert "1 pod will be destroyed" in page
    assert ended.name not in page
    assert elsewhere.name not in page
    fleet.refresh_from_db()
    assert fleet.mode == "running"

    post(admin_client, fleet, confirmed="yes")
    fleet.refresh_from_db()
    other.refresh_from_db()
    assert (fleet.mode, other.mode) == ("stop_all", "running")
    assert "admin" in fleet.history.latest().history_change_reason


@pytest.mark.fault(69)
def test_a_viewer_can_neither_ask_for_nor_confirm_stop_all(client: Client) -> None:
    fleet = a_fleet()
    logged_in_with(client, "view_fleet")
    post(client, fleet, confirmed="yes")
    fleet.refresh_from_db()
    assert fleet.mode == "running"


def test_a_confirmation_without_the_forms_token_is_refused(admin_user: User) -> None:
    fleet = a_fleet()
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert post(client, fleet, confirmed="yes").status_code == 403
    fleet.refresh_from_db()
    assert fleet.mode == "running"
