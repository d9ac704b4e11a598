"""The switch that stops everything is on every page; it asks first, and its undo is one button."""

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from fleet.models import Fleet, Limits
from pods.emulators.base import SteppedClock
from pods.states import FAILED, READY
from tests.support.admin_pages import a_user, fields_of, page_of
from tests.support.factories import a_fleet, a_pod, an_alert

pytestmark = pytest.mark.django_db


def send(client: Client, **values: str) -> Any:
    return client.post(reverse("stop-everything"), values, follow=True)


def text(client: Client) -> str:
    return client.get(reverse("stop-everything")).content.decode()


def test_the_page_has_the_count_and_the_price_first_and_the_names_below(
    time: SteppedClock,
) -> None:
    operator, fleet = a_user("operator"), a_fleet(name="emb")
    doomed, ended = a_pod(fleet, READY), a_pod(fleet, FAILED)
    a_pod(a_fleet(name="img", mode="paused"), READY)
    page = text(operator)
    order = ["2 pods</strong> of 2 fleets", "$1.00/h", "destroy 2 pods", "Show pods", doomed.name]
    assert [page.index(words) for words in order] == sorted(page.index(words) for words in order)
    assert ended.name not in page
    assert Limits.get().mode == "running"

    done = send(operator, verb="stop").content.decode()
    assert "Everything is stopped" in done
    assert Limits.get().mode_by == "operator"
    assert dict(Fleet.objects.values_list("name", "mode")) == {"emb": "running", "img": "paused"}
    page = text(operator)
    for words in ("by <strong>operator</strong>", "Undo the stop", "1 paused", "1 running"):
        assert words in page
    version = str(Limits.get().version)
    assert "Look again" in send(operator, verb="undo", version="999").content.decode()
    assert Limits.get().stopped
    assert "The stop is undone" in send(operator, verb="undo", version=version).content.decode()
    assert Limits.get().mode == "running"
    assert (
        "nothing is stopped"
        in send(operator, verb="undo", version=str(Limits.get().version)).content.decode()
    )


@pytest.mark.fault(69)
def test_a_viewer_sees_who_stopped_everything_and_can_neither_stop_nor_undo() -> None:
    viewer = a_user("viewer")
    assert "Stop everything" not in viewer.get(reverse("admin:index")).content.decode()
    assert send(viewer, verb="stop").status_code == 403
    assert not Limits.get().stopped
    send(a_user("operator"), verb="stop")
    page = viewer.get(reverse("admin:fleet_fleet_changelist")).content.decode()
    assert "Everything is stopped" in page
    assert "by operator" in page
    assert "Undo" not in page
    version = str(Limits.get().version)
    assert send(viewer, verb="undo", version=version).status_code == 403
    assert Limits.get().stopped


def test_a_stop_without_the_forms_token_is_refused(admin_user: User) -> None:
    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    assert client.post(reverse("stop-everything"), {"verb": "stop"}).status_code == 403
    assert not Limits.get().stopped


@pytest.mark.parametrize(
    "page",
    ["admin:index", "admin:fleet_fleet_changelist", "admin:fleet_fleet_add", "money",
     "admin:pods_pod_changelist", "admin:fleet_alert_changelist", "admin:password_change"],
)  # fmt: skip
def test_every_page_begins_with_the_way_past_the_menu_the_switch_and_the_alerts(
    page: str, time: SteppedClock
) -> None:
    an_alert(a_fleet())
    shown = a_user("operator").get(reverse(page)).content.decode()
    body = shown[shown.index("<body") :]
    skip, stop = body.index('href="#content"'), body.index(f'href="{reverse("stop-everything")}"')
    alerts = body.index(f'href="{reverse("admin:index")}#needs-you"')
    first = min(n for n in (body.find("<button"), body.find("<input"), body.find("<nav")) if n > 0)
    assert skip < stop < alerts < first
    assert 'id="content"' in body


def test_the_form_of_the_limits_can_neither_stop_everything_nor_end_a_stop(
    admin_client: Client, admin_user: User
) -> None:
    fields = fields_of(Limits.get(), user="admin")
    refused = admin_client.post(page_of(Limits.get()), {**fields, "mode": "stop_all"})
    assert list(refused.context["adminform"].form.errors) == ["mode"]
    # An old page, of before the stop, is sent after it.
    send(admin_client, verb="stop")
    admin_client.post(page_of(Limits.get()), {**fields, "mode": "paused", "max_instances": "7"})
    assert (Limits.get().mode, Limits.get().max_instances) == ("stop_all", 7)
    send(admin_client, verb="undo", version=str(Limits.get().version))
    admin_client.post(page_of(Limits.get()), {**fields, "mode": "paused", "max_instances": "7"})
    assert (Limits.get().mode, Limits.get().mode_by) == ("paused", "admin")
    assert Limits.history.latest().history_change_reason == "set Mode of all fleets by admin"


def test_to_resume_a_fleet_while_everything_is_stopped_says_so() -> None:
    operator, fleet = a_user("operator"), a_fleet(mode="paused")
    send(operator, verb="stop")
    address = reverse("fleet-mode", args=[fleet.pk])
    page = operator.post(address, {"mode": "running"}, follow=True).content.decode()
    assert "it starts no pod until that is undone" in page
