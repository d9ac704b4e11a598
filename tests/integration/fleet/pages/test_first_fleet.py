"""An empty installation is led to its first fleet, and shows nothing to stop and no zeros."""

import pytest
from django.test import Client
from django.urls import reverse

from fleet.pages import first_fleet
from pods.models import Account
from tests.support.admin_pages import a_user
from tests.support.factories import a_fleet, an_account

pytestmark = pytest.mark.django_db


def page(client: Client) -> str:
    return " ".join(client.get(reverse("admin:index")).content.decode().split())


def test_without_a_fleet_there_is_nothing_to_stop_no_chart_and_no_zero(
    admin_client: Client,
) -> None:
    shown = page(admin_client)
    for absent in ("Stop everything", 'id="pf-charts"', "$0.00", "Nothing needs you"):
        assert absent not in shown
    a_fleet()
    shown = page(admin_client)
    for present in ("Stop everything", 'id="pf-charts"', "$0.00", "Nothing needs you"):
        assert present in shown
    assert "Your first fleet" not in shown
    assert "Stop everything" in admin_client.get(reverse("money")).content.decode()


def test_an_admin_tries_it_here_with_one_button_and_the_form_is_filled(
    admin_client: Client,
) -> None:
    assert 'action="/admin/first/"' in page(admin_client)
    form = admin_client.post(reverse("first-fleet"), follow=True)
    local = Account.objects.get()
    assert (local.name, local.provider) == ("local", "local")
    shown = form.context["adminform"].form
    assert shown["handler"].value() == first_fleet.EXAMPLE["handler"]
    assert [str(pk) for pk in shown["accounts"].value()] == [str(local.pk)]
    assert admin_client.post(reverse("first-fleet")).status_code == 302
    assert Account.objects.count() == 1
    assert f"accounts={local.pk}" in page(admin_client)


def test_each_role_sees_the_steps_that_it_may_take(client: Client) -> None:
    assert "You may look, but not create a fleet" in page(a_user("viewer"))
    operator = a_user("operator")
    assert "Ask an admin to add an account" in page(operator)
    assert "Connect a vendor" not in page(operator)
    assert operator.post(reverse("first-fleet")).status_code == 403
    an_account("runpod", name="rented")
    assert "Connected: rented" in page(operator)
    assert not Account.objects.filter(name="local").exists()
