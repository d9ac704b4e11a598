"""The menu, the way to each page, and the titles of pages."""

import re
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from fleet.models import Channel, Fleet, Limits, Override, Tick
from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.models import Orphan, Pod, PodEvent
from pods.states import READY
from tests.support.admin_pages import a_user, page_of
from tests.support.factories import a_fleet, a_pod, an_account, an_alert, hours

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


def menu(client: Client) -> dict[str, list[str]]:
    """The titles of the items that a user may open, by group."""
    groups = client.get(reverse("admin:index")).context["sidebar_navigation"]
    return {
        group["title"]: [i["title"] for i in group["items"] if i["has_permission"]]
        for group in groups
    }


def way(client: Client, url: str) -> str:
    """The way to a page as a reader sees it."""
    page = client.get(url).content.decode()
    nav = re.search(r'<nav class="pf-way".*?</nav>', page, re.DOTALL)
    steps = re.findall(r"<li>(.*?)</li>", nav[0], re.DOTALL) if nav else []
    here = re.findall(r'<h1 class="pf-here">(.*?)</h1>', page, re.DOTALL)
    assert len(here) == 1
    texts = [unescape(re.sub(r"<[^>]+>", "", step)).strip() for step in (*steps, *here)]
    return " › ".join(texts)


def tab(client: Client, url: str) -> str:
    found = re.search(r"<title>(.*?)</title>", client.get(url).content.decode(), re.DOTALL)
    assert found is not None
    return unescape(found[1]).strip()


def test_the_menu_says_what_is_so_then_why_then_what_limits_it(admin_client: Client) -> None:
    shown = menu(admin_client)
    assert list(shown) == ["Now", "Explain", "Control", "Admin"]
    assert shown["Now"] == ["Overview", "Fleets", "Pods", "Alerts", "Failed items", "Batches"]
    assert shown["Explain"] == ["Decisions", "Spending", "Market", "Activity"]
    assert shown["Control"] == [
        "Limits", "Manual holds", "Accounts", "Alert channels", "Unknown machines",
    ]  # fmt: skip
    assert shown["Admin"] == ["Users", "API tokens", "Background jobs"]


def test_a_viewer_has_no_item_that_he_may_not_open(settings: Any) -> None:
    settings.FLOWER_URL = "http://flower.example:5555"
    assert menu(a_user("viewer"))["Admin"] == []


def test_the_menu_leads_to_flower_where_its_address_is_known(
    admin_client: Client, settings: Any
) -> None:
    settings.FLOWER_URL = "http://flower.example:5555"
    assert menu(admin_client)["Admin"][-1] == "Flower ↗"
    page = admin_client.get(reverse("admin:index")).content.decode()
    assert 'href="http://flower.example:5555"' in page


def test_the_way_to_a_page_names_its_fleet_and_its_pod_and_no_app(
    admin_client: Client, time: SteppedClock
) -> None:
    fleet = a_fleet(name="emb")
    pod = a_pod(fleet, READY)
    short = pod.name.rpartition("-")[2][:8]
    event = PodEvent.objects.create(
        pod=pod, at=clock.utcnow(), by="health", before="booting", after="ready", because="beats"
    )
    tick = Tick.objects.create(
        fleet=fleet, at=clock.utcnow(), token=1, depth=5, active=0, desired=0, target=0,
        sentence="keeps 0 pods",
    )  # fmt: skip
    alert = an_alert(fleet, text="a pod is old")
    rows: dict[Any, str] = {
        fleet: "Fleets › emb › Settings",
        pod: f"Fleets › emb › Pods › {short}",
        event: f"Fleets › emb › Pods › {short} › Activity › booting → ready",
        tick: "Fleets › emb › Decisions › 23 Nov 12:00:00",
        alert: "Fleets › emb › Alerts › a pod is old",
        an_account(name="rent"): "Accounts › rent",
        Limits.get(): "Limits",
    }
    for row, wanted in rows.items():
        assert way(admin_client, page_of(row)) == wanted
    status = reverse("admin:fleet_fleet_status", args=[fleet.pk])
    assert way(admin_client, status) == "Fleets › emb"
    listed = f"{reverse('admin:pods_pod_changelist')}?fleet__id__exact={fleet.pk}"
    assert way(admin_client, listed) == "Fleets › emb › Pods"
    assert way(admin_client, f"{reverse('money')}?fleet={fleet.pk}") == "Fleets › emb › Spending"
    logs = reverse("admin:pods_pod_logs", args=[pod.pk])
    assert way(admin_client, logs) == f"Fleets › emb › Pods › {short} › Log"
    assert tab(admin_client, logs) == f"Log · {short} · Pods · emb · Fleets | Podfleet"
    preview = reverse("fleet-next", args=[fleet.pk])
    assert way(admin_client, preview) == "Fleets › emb › Preview next tick"
    history = reverse("admin:fleet_fleet_history", args=[fleet.pk])
    assert way(admin_client, history) == "Fleets › emb › History"
    assert way(admin_client, reverse("admin:index")) == "Overview"
    assert way(admin_client, reverse("money")) == "Spending"


def test_each_list_is_called_as_in_the_menu(admin_client: Client) -> None:
    Limits.made()
    page = admin_client.get(reverse("admin:index"))
    items = [i for group in page.context["sidebar_navigation"] for i in group["items"]]
    for item in items:
        assert way(admin_client, str(item["link"])) == item["title"]
        assert tab(admin_client, str(item["link"])) == f"{item['title']} | Podfleet"


def test_a_list_of_one_fleet_is_reached_from_the_page_of_its_row(
    admin_client: Client, time: SteppedClock
) -> None:
    fleet = a_fleet(name="emb")
    hold = Override.objects.create(
        fleet=fleet, pods=3, until=clock.utcnow() + hours(1), by="ann", because="a test"
    )
    page = admin_client.get(page_of(hold)).content.decode()
    listed = f"{reverse('admin:fleet_override_changelist')}?fleet__id__exact={fleet.pk}"
    assert f'<a href="{listed}">Manual holds</a>' in page
    assert admin_client.get(listed).status_code == 200


def test_the_rows_have_the_names_of_the_menu() -> None:
    names = {
        str(model._meta.verbose_name_plural)
        for model in (Fleet, Pod, Override, PodEvent, Orphan, Channel, Tick)
    }
    assert names == {
        "fleets", "pods", "manual holds", "activity", "unknown machines", "alert channels",
        "decisions",
    }  # fmt: skip
