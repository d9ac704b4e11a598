"""Archiving, restoring and deleting fleets in the admin."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django_celery_beat.models import PeriodicTask

from fleet.models import Fleet
from pods import lifecycle
from pods.models import Pod
from pods.states import LOST, READY
from tests.support.admin_pages import a_user, fields_of, page_of
from tests.support.factories import a_fleet, a_pod

pytestmark = pytest.mark.django_db
FLEETS = "admin:fleet_fleet_changelist"


@pytest.fixture
def operator() -> Client:
    return a_user("operator")


def act(client: Client, action: str, *fleets: Fleet, **values: str) -> str:
    sent: dict[str, Any] = {"action": action, "_selected_action": [f.pk for f in fleets], **values}
    page = client.post(f"{reverse(FLEETS)}?archived=all", sent, follow=True)
    return str(page.content.decode())


def names(client: Client, **query: str) -> list[str]:
    return [f.name for f in client.get(reverse(FLEETS), query).context["cl"].result_list]


def test_an_operator_archives_a_fleet_and_brings_it_back(operator: Client) -> None:
    one, two = a_fleet(name="one"), a_fleet(name="two", stream="two")
    pod = a_pod(two, READY)
    page = act(operator, "archive", one, two)
    assert "one: archived" in page
    assert "two has 1 pod that may bill (1 ready)" in page
    assert names(operator) == ["two"]
    assert names(operator, archived="yes") == ["one"]
    shown = operator.get(reverse("admin:fleet_fleet_status", args=[one.pk])).content.decode()
    assert "hidden, no ticks, history kept" in shown
    assert 'value="restore"' in shown
    assert "back, and paused" in act(operator, "restore", one)
    assert "when its last pod has ended" in act(operator, "archive_when_empty", two)
    lifecycle.move(pod, LOST, by="test", because="gone")
    two.refresh_from_db()
    assert (two.mode, two.archive_when_empty) == ("paused", True)


def test_an_archived_fleet_cannot_be_edited(operator: Client) -> None:
    fleet = a_fleet(name="one")
    page, sent = page_of(fleet), fields_of(fleet)
    act(operator, "archive", fleet)
    assert operator.post(page, {**sent, "max_instances": "7"}).status_code == 403
    assert "was archived on" in act(operator, "resume", fleet)
    fleet.refresh_from_db()
    assert (fleet.max_instances, fleet.mode) == (1, "paused")


def test_an_archived_fleet_gets_another_name_and_its_own_is_free(operator: Client) -> None:
    fleet = a_fleet(name="one")
    act(operator, "archive", fleet)
    said = act(operator, "archive", fleet, new_name="one-2026")
    assert "one-2026 (was one): archived" in said
    assert "one-2027 (was one-2026): back" in act(operator, "restore", fleet, new_name="one-2027")
    act(operator, "archive", fleet)
    a_fleet(name="one")
    assert "another fleet has this name" in act(operator, "archive", fleet, new_name="one")


def test_only_admins_delete_and_only_what_cost_nothing_after_a_question(
    operator: Client, admin_client: Client
) -> None:
    free, dear = a_fleet(name="free"), a_fleet(name="dear", stream="dear")
    a_pod(free, LOST, hourly_usd=Decimal(0))
    a_pod(dear, LOST)
    Pod.objects.get(fleet=dear).segments.update(cost_micros=2_000_000)
    Pod.objects.get(fleet=free).segments.all().delete()
    act(operator, "archive", free, dear)
    act(operator, "erase", free, confirmed="yes")
    assert Fleet.objects.count() == 2
    page = act(admin_client, "erase", free, dear)
    assert "1 fleet will be deleted for good" in page
    assert "dear is not deleted" in page
    assert Fleet.objects.count() == 2
    act(admin_client, "erase", free, dear, confirmed="yes")
    assert [f.name for f in Fleet.objects.all()] == ["dear"]
    assert PeriodicTask.objects.filter(task="fleet.tick").count() == 1
    delete = reverse("admin:fleet_fleet_delete", args=[dear.pk])
    assert admin_client.post(delete, {"post": "yes"}).status_code == 403


def test_a_viewer_sees_no_button_and_archives_nothing() -> None:
    fleet, viewer = a_fleet(name="one"), a_user("viewer")
    page = viewer.get(reverse("admin:fleet_fleet_status", args=[fleet.pk])).content.decode()
    assert "Preview next tick" in page
    assert 'value="archive' not in page
    act(viewer, "archive", fleet)
    fleet.refresh_from_db()
    assert fleet.archived_at is None
