"""Pages about errors say what happened, keep the menu for who is logged in, and lead back."""

import pytest
from django.test import Client, RequestFactory
from django.urls import reverse

from config import errors
from tests.support.admin_pages import a_user
from tests.support.factories import a_fleet

pytestmark = pytest.mark.django_db


def test_a_wrong_address_keeps_the_menu_and_leads_back(admin_client: Client) -> None:
    answer = admin_client.get("/admin/nowhere/at/all/")
    page = answer.content.decode()
    assert answer.status_code == 404
    assert "Nothing is here" in page
    assert 'id="nav-sidebar"' in page
    assert f'href="{reverse("admin:index")}"' in page
    assert "tried" not in page
    assert "give stretch as one of" in admin_client.get("/admin/chart/?stretch=1y").content.decode()


@pytest.mark.parametrize("query", ["zzz=1", "fleet__id__exact=1"])
def test_an_address_that_is_not_understood_leads_back(admin_client: Client, query: str) -> None:
    answer = admin_client.get(f"{reverse('admin:fleet_fleet_changelist')}?{query}")
    page = answer.content.decode()
    assert answer.status_code == 400
    assert "This address is not understood" in page
    assert 'id="nav-sidebar"' in page


def test_a_stranger_gets_no_menu(client: Client) -> None:
    answer = client.get("/nowhere/")
    assert answer.status_code == 404
    assert 'id="nav-sidebar"' not in answer.content.decode()


def test_what_a_role_may_not_do_is_refused_with_a_way_back() -> None:
    fleet = a_fleet()
    viewer = a_user("viewer")
    answer = viewer.post(reverse("fleet-mode", args=[fleet.pk]), {"mode": "paused"})
    page = answer.content.decode()
    assert answer.status_code == 403
    assert "You may not do this" in page
    assert "Nothing was changed" in page
    assert 'id="nav-sidebar"' in page


def test_a_form_without_its_secret_says_what_to_do(admin_client: Client) -> None:
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = admin_client.cookies
    answer = strict.post(reverse("first-fleet"))
    assert answer.status_code == 403
    assert "This form is out of date" in answer.content.decode()


@pytest.mark.django_db(databases=[])
def test_the_page_of_a_fault_asks_no_database() -> None:
    answer = errors.failed(RequestFactory().get("/admin/"))
    assert answer.status_code == 500
    assert "Something failed on the server" in answer.content.decode()
    assert reverse("admin:index") in answer.content.decode()
