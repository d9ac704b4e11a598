"""The pages of one fleet: its tabs, its status, and the page that asks before a stop."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from fleet.models import Fleet, Tick
from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.models import Pod
from pods.states import BOOTING, LOST, READY
from tests.support.admin_pages import a_user, logged_in_with
from tests.support.factories import a_fleet, a_pod, an_alert

pytestmark = pytest.mark.django_db
TABS = [
    "Status", "Settings", "Code", "Secrets", "Pods", "Decisions", "Alerts", "Spending",
    "Failed items", "What if",
]  # fmt: skip


def status(fleet: Fleet) -> str:
    return reverse("admin:fleet_fleet_status", args=[fleet.pk])


def text(client: Client, url: str) -> str:
    return " ".join(client.get(url).content.decode().split())


def tabs_of(page: Any) -> list[Any]:
    return next(
        c["shown"].links for c in page.context if c.get("shown") and "links" in dir(c["shown"])
    )


def a_tick(fleet: Fleet, **values: Any) -> None:
    facts = {"depth": 0, "active": 0, "desired": 0, "target": 0, "sentence": "keeps 0 pods"}
    Tick.objects.create(fleet=fleet, token=1, **{"at": clock.utcnow(), **facts, **values})


def test_each_tab_is_an_address_that_marks_itself_and_leads_to_all_others() -> None:
    fleet, client = a_fleet(name="emb"), a_user("viewer")
    links = tabs_of(client.get(status(fleet)))
    assert [link.tab for link in links] == TABS
    for link in links:
        page = client.get(link.url)
        assert page.status_code == 200
        shown = tabs_of(page)
        assert [other.url for other in shown] == [other.url for other in links]
        assert [other.tab for other in shown if other.current] == [link.tab]
        assert 'aria-label="Pages of emb"' in page.content.decode()


def test_a_list_of_all_fleets_has_no_tabs() -> None:
    a_fleet(name="emb")
    page = a_user("viewer").get(reverse("admin:pods_pod_changelist")).content.decode()
    assert "Pages of emb" not in page


def test_tabs_count_pods_alerts_and_failed_items_and_only_what_the_user_may_see(
    client: Client,
) -> None:
    fleet = a_fleet(name="emb")
    a_pod(fleet, READY)
    a_pod(fleet, LOST)
    an_alert(fleet)
    Fleet.objects.filter(pk=fleet.pk).update(dead_letters=12_345)
    counts = {link.tab: link.count for link in tabs_of(a_user("operator").get(status(fleet)))}
    assert [counts[tab] for tab in ("Pods", "Alerts", "Failed items")] == [1, 1, 12_345]
    logged_in_with(client, "view_fleet")
    shown = [link.tab for link in tabs_of(client.get(status(fleet)))]
    assert shown == [
        "Status", "Settings", "Code", "Secrets", "Spending", "Failed items", "What if",
    ]  # fmt: skip


def test_the_status_says_what_holds_the_fleet_and_leads_to_the_field(time: SteppedClock) -> None:
    fleet = a_fleet(name="emb", target_depth_per_pod=100, max_hourly_usd="4")
    a_pod(fleet, READY, rate=10.0, hourly_usd=Decimal("0.5"))
    a_tick(fleet, depth=36_000, target=1, desired=1, binding="max_instances")
    page = text(a_user("viewer"), status(fleet))
    assert "Working" in page
    field = f"{reverse('admin:fleet_fleet_change', args=[fleet.pk])}#id_max_instances"
    assert f'Held at 1 by <a class="pf-remedy" href="{field}">Max pods</a> (360 wanted)' in page
    assert "<dt>Waiting</dt> <dd>36.0 k</dd>" in page
    assert "<small>in 1 h</small>" in page
    assert "$0.50 <small>of $4.00</small>" in page
    assert "→ $6.00 by midnight, of no budget" in page  # twelve hours at $0.50
    assert "1 of 1 pods" in page


def test_the_status_says_who_edited_the_fleet_last() -> None:
    fleet, client = a_fleet(name="emb"), a_user("operator")
    client.post(
        f"{reverse('fleet-mode', args=[fleet.pk])}?next={status(fleet)}", {"mode": "paused"}
    )
    page = text(client, status(fleet))
    assert "Paused" in page
    assert ">set Mode by operator</a>" in page


def test_the_status_of_a_fleet_that_fails_has_the_reason_and_the_log_first(
    time: SteppedClock,
) -> None:
    fleet = a_fleet(name="emb")
    pod = a_pod(fleet, LOST, retire_rule="agent_failed", retire_because="<b>no module</b>")
    old = a_pod(fleet, LOST, retire_rule="agent_failed", retire_because="long ago")
    Pod.objects.filter(pk=old.pk).update(failed_at=clock.utcnow() - timedelta(hours=25))
    a_pod(fleet, LOST, retire_rule="idle", retire_because="nothing to do")
    a_tick(fleet, depth=9, failing=3, trouble="3 pods in a row failed")
    page = text(a_user("viewer"), status(fleet))
    assert "&lt;b&gt;no module&lt;/b&gt;" in page
    assert page.index(reverse("admin:pods_pod_logs", args=[pod.pk])) < page.index(
        "<dt>Waiting</dt>"
    )
    assert "long ago" not in page
    assert "nothing to do" not in page
    assert "Never at this rate <small>no pod is ready</small>" in page


@pytest.mark.parametrize("pods", [0, 3, 50])
def test_the_status_has_a_fixed_number_of_queries_and_a_bar_of_all_pods(
    pods: int, time: SteppedClock, django_assert_max_num_queries: Any
) -> None:
    fleet, client = a_fleet(name="emb", max_instances=50), a_user("viewer")
    for n in range(pods):
        a_pod(fleet, BOOTING if n == 1 else READY)
    client.get(status(fleet))
    with django_assert_max_num_queries(20):
        page = " ".join(client.get(status(fleet)).content.decode().split())
    assert f"{pods} of 50 pods" in page
    assert page.count("<rect") == min(pods, 2)
    assert ("No pod may bill" in page) == (pods == 0)


def test_a_stop_names_the_pods_and_asks_first() -> None:
    fleet = a_fleet(name="emb")
    pod, client = a_pod(fleet, READY), a_user("operator")
    stop = reverse("admin:fleet_fleet_stop", args=[fleet.pk])
    assert stop in client.get(status(fleet)).content.decode()
    asked = client.get(stop).content.decode()
    assert "1 pod will be destroyed" in asked
    assert pod.name in asked
    assert "Keep running" in asked
    fleet.refresh_from_db()
    assert fleet.mode == "running"
    answer = client.post(stop, {"confirmed": "yes"})
    assert answer.headers["Location"] == status(fleet)
    fleet.refresh_from_db()
    assert fleet.mode == "stop_all"


def test_a_viewer_cannot_stop_and_nobody_without_the_right_sees_the_status(
    client: Client, django_user_model: type[User]
) -> None:
    fleet, viewer = a_fleet(name="emb"), a_user("viewer")
    stop = reverse("admin:fleet_fleet_stop", args=[fleet.pk])
    assert viewer.get(stop).status_code == 403
    assert viewer.post(stop, {"confirmed": "yes"}).status_code == 403
    assert stop not in viewer.get(status(fleet)).content.decode()
    fleet.refresh_from_db()
    assert fleet.mode == "running"
    client.force_login(django_user_model.objects.create_user("new", password="x", is_staff=True))
    assert client.get(status(fleet)).status_code == 403
    gone = reverse("admin:fleet_fleet_status", args=[fleet.pk + 1])
    assert viewer.get(gone).status_code == 404


def test_the_preview_is_a_part_of_the_status_and_a_page_of_its_own(redis_url: str) -> None:
    fleet = a_fleet(name="emb", backlog_url=redis_url, stream="emb", mode="stop_all")
    pod, client = a_pod(fleet, READY), a_user("viewer")
    preview = reverse("fleet-next", args=[fleet.pk])
    assert f'hx-get="{preview}?part=1"' in client.get(status(fleet)).content.decode()
    for _ in range(6):
        a_pod(fleet, READY)
    part = client.get(preview, {"part": "1"}).content.decode()
    assert "<html" not in part
    assert "<strong>7 pods</strong>: " in part
    assert "<summary>Which pods</summary>" in part
    assert reverse("admin:pods_pod_change", args=[pod.pk]) in part
    assert f'href="{status(fleet)}">Stop</a>' in part  # the rule leads to what lifts it
    assert "<html" in client.get(preview).content.decode()
