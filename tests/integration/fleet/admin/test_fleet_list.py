"""The list of fleets: health, order by trouble, and what an operator does in a row."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from fleet.models import Fleet, Tick
from fleet.pages import overview
from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.states import READY
from tests.support.admin_pages import a_user
from tests.support.factories import a_fleet, a_pod, an_alert

pytestmark = pytest.mark.django_db
LIST = "admin:fleet_fleet_changelist"


def a_tick(fleet: Fleet, **values: Any) -> None:
    facts = {"depth": 0, "active": 0, "desired": 0, "target": 0, "sentence": "keeps 0 pods"}
    Tick.objects.create(fleet=fleet, token=1, **{"at": clock.utcnow(), **facts, **values})


def names(client: Client, **query: str) -> list[str]:
    page = client.get(reverse(LIST), query)
    return [fleet.name for fleet in page.context["cl"].result_list]


def some_fleets() -> None:
    """An idle fleet, one with an alert, one that works, and one that fails; by name in this order."""
    for name in ("calm", "old", "works", "zz-broken"):
        a_fleet(name=name)
    fleets = {fleet.name: fleet for fleet in Fleet.objects.all()}
    a_pod(fleets["works"], READY, rate=10.0)
    an_alert(fleets["old"])
    broken = {"depth": 9000, "failing": 6, "trouble": "6 pods in a row: No module named 'nope'"}
    more: dict[str, Any] = {
        "zz-broken": broken,
        "works": {"depth": 36_000, "sentence": "keeps 1 pod"},
    }
    for name, fleet in fleets.items():
        a_tick(fleet, **more.get(name, {}))


def test_what_needs_somebody_comes_first_as_on_the_first_page(time: SteppedClock) -> None:
    some_fleets()
    client = a_user("viewer")
    assert names(client) == ["zz-broken", "old", "works", "calm"]
    assert names(client) == [card.name for card in overview.overview().cards]
    number = client.get(reverse(LIST)).context["cl"].list_display.index("named")
    assert names(client, o=str(number)) == ["calm", "old", "works", "zz-broken"]


def test_a_row_says_how_well_the_fleet_is_and_why(time: SteppedClock) -> None:
    some_fleets()
    page = " ".join(a_user("viewer").get(reverse(LIST)).content.decode().split())
    assert '<span aria-hidden="true">✖</span> Failing' in page
    assert "6 pods in a row: No module named &#x27;nope&#x27;" in page
    assert "1 of 1" in page  # pods
    assert "36.0 k" in page
    assert "(in 1 h)" in page
    assert "Never at this rate" in page


def test_the_order_holds_over_the_pages_and_under_a_search(
    time: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    some_fleets()
    monkeypatch.setattr("fleet.admin.fleet_list.ROWS", 2)
    monkeypatch.setattr("fleet.admin.fleet_list.FleetList.list_per_page", 2)
    client = a_user("viewer")
    assert names(client) == ["zz-broken", "old"]
    assert names(client, p="2") == ["works", "calm"]
    assert names(client, q="o") == ["zz-broken", "old"]
    assert names(client, q="calm") == ["calm"]


def test_an_operator_pauses_a_fleet_in_its_row_and_comes_back_to_the_list() -> None:
    fleet, client = a_fleet(name="emb"), a_user("operator")
    page = client.get(reverse(LIST)).content.decode()
    pause = f"{reverse('fleet-mode', args=[fleet.pk])}?next={reverse(LIST)}"
    assert f'name="mode" value="paused" formaction="{pause}" aria-label="Pause emb"' in page
    answer = client.post(pause, {"mode": "paused"})
    assert answer.headers["Location"] == reverse(LIST)
    fleet.refresh_from_db()
    assert fleet.mode == "paused"
    assert "Resume emb" in client.get(reverse(LIST)).content.decode()
    elsewhere = f"{reverse('fleet-mode', args=[fleet.pk])}?next=https://elsewhere.example/"
    assert client.post(elsewhere, {"mode": "running"}).headers["Location"] == reverse("admin:index")


def test_a_viewer_has_no_button_but_the_preview() -> None:
    fleet = a_fleet(name="emb")
    page = a_user("viewer").get(reverse(LIST)).content.decode()
    assert reverse("fleet-next", args=[fleet.pk]) in page
    assert 'name="mode"' not in page
    assert reverse("admin:fleet_fleet_stop", args=[fleet.pk]) not in page


def test_archived_fleets_are_listed_on_request(time: SteppedClock) -> None:
    a_fleet(name="here")
    Fleet.objects.filter(pk=a_fleet(name="gone").pk).update(archived_at=clock.utcnow())
    client = a_user("operator")
    assert names(client) == ["here"]
    assert names(client, archived="yes") == ["gone"]
    page = client.get(reverse(LIST), {"archived": "yes"}).content.decode()
    assert "Pause gone" not in page
