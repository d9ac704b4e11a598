"""The goal in the form of a fleet: it is saved with its moment, and refused where it cannot be kept."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.test import Client

from fleet import operating, promises
from fleet.models import Fleet
from fleet.tick.requesting import template_hash
from pods.base.clock import utcnow
from pods.base.redis import redis_client
from pods.states import LOST
from tests.support.factories import a_fleet, a_pod, an_account, hours

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


@pytest.fixture
def root(client: Client, django_user_model: Any) -> Client:
    client.force_login(django_user_model.objects.create_superuser("root", password="x"))
    return client


def page(fleet: Fleet) -> str:
    return f"/admin/fleet/fleet/{fleet.pk}/change/"


def sent_by(client: Client, fleet: Fleet, **values: Any) -> dict[str, Any]:
    """What a browser sends from the page of a fleet, with these values instead."""
    form = client.get(page(fleet)).context["adminform"].form
    sent = {field.html_name: field.value() for field in form}
    kept = {n: value for n, value in sent.items() if value is not None and value is not False}
    return kept | {"accounts": [a.pk for a in fleet.accounts.all()]} | values


def at(moment: Any) -> dict[str, str]:
    return {"drain_by_0": f"{moment:%F}", "drain_by_1": f"{moment:%H:%M:%S}"}


def with_work(redis_url: str, items: int) -> Fleet:
    """A proven fleet with a local account, whose pods take a thousand seconds for an item."""
    fleet = a_fleet(accounts=[an_account("local")], max_instances=2)
    began = utcnow() - timedelta(days=1)
    times = {"requested_at": began, "asked_at": began, "ready_at": began + timedelta(minutes=1)}
    a_pod(fleet, LOST, rate=0.001, done=9, **times)
    Fleet.objects.filter(pk=fleet.pk).update(proven_template=template_hash(fleet))
    operating.make_group(fleet)
    for n in range(items):
        redis_client(redis_url).xadd(fleet.stream, {"payload": str(n)})
    return Fleet.objects.get(pk=fleet.pk)


def test_a_deadline_is_saved_and_one_that_cannot_be_kept_is_refused(
    root: Client, redis_url: str
) -> None:
    fleet = with_work(redis_url, 40)  # 11 pod-hours
    soon = sent_by(root, fleet, goal="deadline", **at(utcnow() + hours(2)))
    refused = root.post(page(fleet), soon)
    [said] = refused.context["adminform"].form.errors["drain_by"]
    assert "cannot make it: needs" in said
    assert "or set Done by to" in said
    later = utcnow() + hours(48)
    answer = root.post(page(fleet), sent_by(root, fleet, goal="deadline", **at(later)))
    assert answer.status_code == 302
    fleet.refresh_from_db()
    assert (fleet.goal, f"{fleet.drain_by:%F %H:%M}") == ("deadline", f"{later:%F %H:%M}")


def test_a_goal_without_its_moment_is_refused_at_its_field(root: Client, redis_url: str) -> None:
    fleet = a_fleet()
    answer = root.post(page(fleet), sent_by(root, fleet, goal="deadline"))
    [said] = answer.context["adminform"].form.errors["drain_by"]
    assert "the goal deadline needs it" in said


@pytest.mark.one_database
def test_a_moment_that_no_page_could_show_is_refused_at_its_field(
    root: Client, redis_url: str
) -> None:
    fleet = a_fleet()
    root.cookies["podfleet_zone"] = "Asia/Tokyo"
    far = {"drain_by_0": "9999-12-31", "drain_by_1": "23:59"}
    answer = root.post(page(fleet), sent_by(root, fleet, goal="deadline", **far))
    [said] = answer.context["adminform"].form.errors["drain_by"]
    assert "is too far ahead; give a moment before" in said


def test_an_address_that_is_not_saved_is_not_tried(redis_url: str) -> None:
    fleet = with_work(redis_url, 40)
    fleet.goal, fleet.drain_by = "deadline", utcnow() + hours(2)
    with pytest.raises(ValidationError):
        promises.refuse_impossible(fleet, {"goal"})
    fleet.backlog_url = (
        "redis://192.0.2.1:6379/0"  # a connection there would take until its time-out
    )
    assert not promises.may_read(fleet)
    promises.refuse_impossible(fleet, {"goal"})


def test_the_form_names_the_zone_of_the_deadline(root: Client) -> None:
    fleet = a_fleet()
    root.cookies["podfleet_zone"] = "Asia/Tokyo"
    assert "should be done. In the zone Asia/Tokyo." in root.get(page(fleet)).content.decode()
