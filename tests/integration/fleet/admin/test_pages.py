"""The lists and pages of the admin: their content, their users and their number of queries."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from fleet.alerts import delivering
from fleet.models import Channel, Limits, Tick
from pods import lifecycle
from pods.base import clock
from pods.base.clock import utcnow
from pods.models import Pod, PriceSegment
from pods.states import DRAINING, LOST, READY, TERMINATED
from tests.support.admin_pages import a_user
from tests.support.factories import NOON, a_fleet, a_pod, an_alert, hours

pytestmark = pytest.mark.django_db
PODS = "admin:pods_pod_changelist"


@pytest.fixture
def viewer() -> Client:
    return a_user("viewer")


@pytest.fixture
def operator() -> Client:
    return a_user("operator")


def billed(pod: Pod, usd: str, ago: timedelta, lasted: timedelta | None = None) -> None:
    PriceSegment.objects.filter(pod=pod).delete()
    since = utcnow() - ago
    segment = PriceSegment.objects.create(
        pod=pod, fleet=pod.fleet, hourly_usd=Decimal(usd), since=since
    )
    if lasted is not None:
        segment.until = since + lasted
        segment.cost_micros = int(segment.cost_usd(segment.until) * 1_000_000)
        segment.save()


@pytest.fixture
def noon() -> Iterator[None]:
    """Noon, so that an hour of spending never lies in two days."""
    with clock.use(lambda: NOON):
        yield


def shown(page: Any) -> list[str]:
    return [pod.name for pod in page.context["cl"].result_list]


def test_the_list_shows_pods_that_may_bill_and_sorts_by_cost(viewer: Client) -> None:
    fleet = a_fleet()
    cheap, dear, slow = (a_pod(fleet, READY, done=n) for n in (1_000_000, 4_000_000, 1_000))
    ended = a_pod(fleet, TERMINATED, done=1)
    billed(cheap, "1", hours(2))
    billed(dear, "1", hours(30), lasted=hours(6))
    billed(slow, "0.5", hours(2))
    order = PodColumns(viewer)
    assert order("shown_cost") == [slow.name, cheap.name, dear.name]
    page = viewer.get(reverse(PODS), {"billing": "ended"})
    assert shown(page) == [ended.name]
    assert len(shown(viewer.get(reverse(PODS), {"billing": "all"}))) == 4
    text = viewer.get(reverse(PODS)).content.decode()
    assert "6.00" in text
    page = viewer.get(reverse("admin:pods_pod_change", args=[dear.pk])).content.decode()
    assert "1.50" in page  # a million items on `dear`


class PodColumns:
    """Sorts the list of pods by a column, like a click on its head."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def __call__(self, column: str) -> list[str]:
        page = self.client.get(reverse(PODS))
        number = page.context["cl"].list_display.index(column)
        return shown(self.client.get(reverse(PODS), {"o": str(number)}))


@pytest.mark.parametrize("pods", [3, 40])
def test_the_list_of_pods_has_a_fixed_number_of_queries(
    viewer: Client, pods: int, django_assert_max_num_queries: Any
) -> None:
    fleet = a_fleet()
    for _ in range(pods):
        a_pod(fleet, READY)
    viewer.get(reverse(PODS))
    with django_assert_max_num_queries(14):
        assert len(shown(viewer.get(reverse(PODS)))) == pods


@pytest.mark.parametrize("fleets", [2, 15])
def test_the_list_of_fleets_has_a_fixed_number_of_queries(
    viewer: Client, fleets: int, django_assert_max_num_queries: Any
) -> None:
    for _ in range(fleets):
        a_pod(a_fleet(), READY)
    url = reverse("admin:fleet_fleet_changelist")
    viewer.get(url)
    with django_assert_max_num_queries(18):
        page = viewer.get(url)
    assert [f.card.billable for f in page.context["cl"].result_list] == [1] * fleets


def test_a_pods_page_shows_its_events_its_cost_and_its_console(viewer: Client) -> None:
    pod = a_pod(a_fleet(), READY, console_url="https://console.example/pods?id=1")
    billed(pod, "3", hours(2))
    lifecycle.move(pod, DRAINING, by="ann", because="<b>drained</b> by hand")
    page = viewer.get(reverse("admin:pods_pod_change", args=[pod.pk])).content.decode()
    assert "&lt;b&gt;drained&lt;/b&gt; by hand" in page
    assert "$6.00" in page
    assert 'href="https://console.example/pods?id=1"' in page
    assert 'value="destroy"' not in page


def test_a_pods_page_shows_where_its_time_goes_and_what_holds_it_back(viewer: Client) -> None:
    measured = {"busy": 0.22, "link": 0.7, "held_bytes": 12_300_000, "rtt_ms": 180.4}
    fleet = a_fleet()
    waits = a_pod(fleet, READY, bottleneck="link", measures=measured)
    url = reverse("admin:pods_pod_change", args=[waits.pk])
    page = " ".join(viewer.get(url).content.decode().split())
    assert "Held back by: <strong>link</strong>. Its handler waits for round trips" in page
    assert '22 % <meter min="0" max="100" value="22" aria-hidden="true">' in page
    assert "12.3 MB" in page
    assert "180 ms" in page
    silent, gone = a_pod(fleet, READY), a_pod(fleet, TERMINATED, bottleneck="link")
    said = viewer.get(reverse("admin:pods_pod_change", args=[silent.pk])).content.decode()
    assert "Its agent does not say where its time goes" in said
    assert "Held back by" not in said
    ended = viewer.get(reverse("admin:pods_pod_change", args=[gone.pk])).content.decode()
    assert "Where the time goes" not in ended


@pytest.mark.fault(68)
def test_a_bad_console_address_is_not_a_link(operator: Client) -> None:
    pod = a_pod(a_fleet(), READY, console_url="javascript:alert(1)")
    page = operator.get(reverse("admin:pods_pod_change", args=[pod.pk])).content.decode()
    assert "javascript:alert" not in page.partition("Times and internal facts")[0]
    assert 'value="destroy"' in page


def test_the_page_of_unavailable_logs_says_why(viewer: Client) -> None:
    pod = a_pod(a_fleet(), READY)
    page = viewer.get(reverse("admin:pods_pod_logs", args=[pod.pk])).content.decode()
    assert "NotFound" in page
    assert viewer.get(reverse("admin:pods_pod_logs", args=[999])).status_code == 404


def test_stop_is_refused_if_the_pod_does_not_work(operator: Client) -> None:
    fleet = a_fleet()
    ready, lost = a_pod(fleet, READY), a_pod(fleet, LOST)
    chosen = {"action": "stop", "_selected_action": [ready.pk, lost.pk], "confirmed": "yes"}
    operator.post(f"{reverse(PODS)}?billing=all", chosen)
    ready.refresh_from_db()
    lost.refresh_from_db()
    assert (ready.state, ready.stop_when_idle) == ("draining", True)
    assert lost.state == "lost"


@pytest.mark.fault(68)
def test_an_export_holds_the_chosen_rows_and_no_formula(viewer: Client) -> None:
    fleet = a_fleet()
    first, second = a_pod(fleet, READY, host="=cmd|x"), a_pod(fleet, READY)
    a_pod(fleet, READY)
    chosen = {"_selected_action": [first.pk, second.pk]}
    answer: Any = viewer.post(reverse(PODS), {"action": "as_csv", **chosen})
    rows = list(csv.DictReader(io.StringIO(answer.getvalue().decode())))
    assert {row["name"] for row in rows} == {first.name, second.name}
    assert "'=cmd|x" in {row["host"] for row in rows}
    answer = viewer.post(reverse(PODS), {"action": "as_json", **chosen})
    assert {json.loads(line)["id"] for line in answer.getvalue().splitlines()} == {
        first.pk, second.pk,
    }  # fmt: skip


@pytest.mark.fault(66)
def test_an_export_holds_no_secrets(viewer: Client) -> None:
    pod = a_pod(a_fleet(), READY, redis_url="redis://:hunter2@host/0", handler_env={"K": "hunter3"})
    for action in ("as_csv", "as_json"):
        chosen = {"action": action, "_selected_action": [pod.pk]}
        answer: Any = viewer.post(reverse(PODS), chosen)
        assert b"hunter" not in answer.getvalue()


def test_the_inbox_shows_unanswered_alerts_and_operators_answer_them(
    operator: Client, viewer: Client
) -> None:
    fleet = a_fleet()
    first, second = an_alert(fleet), an_alert(fleet, subject="pod:2")
    inbox = reverse("admin:fleet_alert_changelist")
    chosen = {"_selected_action": [first.pk]}
    viewer.post(inbox, {"action": "acknowledge", **chosen})
    first.refresh_from_db()
    assert not first.acknowledged_by
    operator.post(inbox, {"action": "acknowledge", **chosen})
    operator.post(inbox, {"action": "snooze_8_h", "_selected_action": [second.pk]})
    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.acknowledged_by, second.snoozed_by) == ("operator", "operator")
    assert second.snoozed_until is not None
    assert hours(7.9) < second.snoozed_until - utcnow() <= hours(8)
    assert not operator.get(inbox).context["cl"].result_list
    for tab, alert in (("acknowledged", first), ("snoozed", second)):
        assert list(operator.get(inbox, {"is": tab}).context["cl"].result_list) == [alert]


def test_a_channels_address_is_checked_sealed_and_never_shown(admin_client: Client) -> None:
    url = reverse("admin:fleet_channel_add")
    given = {"name": "ops", "min_severity": "warning", "enabled": "on"}
    page = admin_client.post(url, {**given, "address": "json://127.0.0.1/hook"}).content.decode()
    assert "private network" in page
    assert "give an address" in admin_client.post(url, {**given, "address": ""}).content.decode()
    admin_client.post(
        url, {**given, "address": "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"}
    )
    channel = Channel.objects.get(name="ops")
    assert "T1JJ3T3L2" not in channel.sealed_url
    change = reverse("admin:fleet_channel_change", args=[channel.pk])
    assert "T1JJ3T3L2" not in admin_client.get(change).content.decode()
    admin_client.post(change, {**given, "min_severity": "critical", "address": ""})
    again = Channel.objects.get(name="ops")
    assert (again.min_severity, again.sealed_url) == ("critical", channel.sealed_url)
    assert delivering.addresses.unseal(again.sealed_url).startswith("slack://")


def test_a_decision_shows_its_steps_and_its_snapshot(viewer: Client) -> None:
    tick = Tick.objects.create(
        fleet=a_fleet(), at=utcnow(), token=1, active=1, ready=1, desired=1, target=1, spawned=0,
        retired=0, sentence="keeps 1 pod", milliseconds=1, binding="max_instances",
        steps=[{"rule": "max_instances", "before": 4, "after": 1, "because": "<i>max is 1</i>"}],
        snapshot={"depth": 77_123}, spent_today_usd=0, hourly_usd=0,
    )  # fmt: skip
    page = viewer.get(reverse("admin:fleet_tick_change", args=[tick.pk])).content.decode()
    assert "&lt;i&gt;max is 1&lt;/i&gt;" in page
    assert "77123" in page


def test_the_preview_of_a_tick_shows_its_decision_and_changes_nothing(
    viewer: Client, redis_url: str
) -> None:
    fleet = a_fleet(backlog_url=redis_url, stream="emb", mode="stop_all")
    pod = a_pod(fleet, READY)
    page = viewer.get(reverse("fleet-next", args=[fleet.pk])).content.decode()
    assert "an operator stopped the fleet" in page
    assert reverse("admin:pods_pod_change", args=[pod.pk]) in page
    pod.refresh_from_db()
    assert (pod.state, Tick.objects.count()) == ("ready", 0)


def test_the_spending_is_shown_by_fleet_and_day_and_can_be_downloaded(
    viewer: Client, noon: None
) -> None:
    fleet = a_fleet(name="emb")
    pod = a_pod(fleet, READY, gpu_type="=L4", done=1_000_000)
    billed(pod, "2", hours(47), lasted=hours(1))
    page = viewer.get(reverse("money")).content.decode()
    assert "so a sum can fall a little" in page
    assert page.count("$2.00") >= 4
    found = viewer.get(reverse("money"), {"format": "json", "days": "3"}).json()
    assert (found["total_usd"], found["entries"][0]["fleet"]) == ("2", "emb")
    answer: Any = viewer.get(reverse("money"), {"format": "csv"})
    assert b"emb,local,'=L4,2" in answer.getvalue()
    assert viewer.get(reverse("money"), {"days": "x"}).status_code == 404
    assert viewer.get(reverse("money"), {"days": "100000"}).status_code == 200


def test_every_page_of_the_menu_opens_for_a_viewer(viewer: Client) -> None:
    Limits.made()
    page = viewer.get(reverse("admin:index"))
    links = [
        item["link"]
        for group in page.context["sidebar_navigation"]
        for item in group["items"]
        if item["has_permission"]
    ]
    assert len(links) >= 10
    for link in links:
        assert viewer.get(str(link)).status_code == 200
