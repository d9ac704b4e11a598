"""A page that only shows something writes nothing: two readers never wait for each other."""

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from fleet import stopping
from fleet.models import Limits
from pods.models import Installation
from tests.support.every_page import addresses, rows_for_every_page

pytestmark = pytest.mark.django_db
WRITES = ("INSERT", "UPDATE", "DELETE")


def written_by(client: Client, address: str) -> list[str]:
    with CaptureQueriesContext(connection) as seen:
        client.get(address)
    return [q["sql"][:160] for q in seen.captured_queries if q["sql"].startswith(WRITES)]


def test_no_page_writes_when_it_is_read(admin_client: Client, redis_url: str) -> None:
    rows_for_every_page(redis_url)
    Limits.objects.all().delete()
    Installation.objects.all().delete()
    asked = sorted(set(addresses()))
    assert len(asked) > 60
    found = {address: written_by(admin_client, address) for address in asked}
    assert {address: writes for address, writes in found.items() if writes} == {}
    assert not Limits.objects.exists()


def test_limits_that_nobody_has_set_are_shown_and_then_set(admin_client: Client) -> None:
    Limits.objects.all().delete()  # as in a database that was emptied
    for page in ("changelist", "change"):
        row = [] if page == "changelist" else [1]
        assert admin_client.get(reverse(f"admin:fleet_limits_{page}", args=row)).status_code == 200
    assert (Limits.get().mode, Limits.get().max_instances) == ("running", None)
    assert not Limits.objects.exists()
    assert stopping.set_limits({"max_instances": 7}, by="ann")
    assert Limits.objects.get().max_instances == 7


def test_the_first_change_of_the_mode_is_seen_as_one(admin_client: Client) -> None:
    assert Limits.history.count() == Limits.objects.count() == 1  # made by a migration
    assert stopping.stop_everything(by="ann")
    page = admin_client.get(reverse("admin:pods_podevent_changelist"), {"who": "people"})
    assert "stopped everything, by ann: <strong>now stop all</strong>" in page.content.decode()
