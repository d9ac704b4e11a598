"""The first page: its content, its users and its number of queries."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from fleet.alerts import answering
from fleet.decision.fleet_health import Health
from fleet.models import Alert, Fleet, Limits, Tick
from fleet.pages import overview
from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.states import BOOTING, FAILED, READY, STOPPED
from tests.support.admin_pages import a_user
from tests.support.factories import a_fleet, a_pod, an_alert, hours, seconds

pytestmark = pytest.mark.django_db


def a_tick(fleet: Fleet, **values: Any) -> Tick:
    defaults: dict[str, Any] = {
        "at": clock.utcnow(), "token": 1, "depth": 3600, "active": 1, "ready": 1, "desired": 1,
        "target": 1, "spawned": 0, "retired": 0, "sentence": "keeps 1 pod", "steps": [],
        "snapshot": {}, "spent_today_usd": Decimal(0), "hourly_usd": Decimal(0), "milliseconds": 1,
    }  # fmt: skip
    return Tick.objects.create(fleet=fleet, **{**defaults, **values})


def test_a_card_shows_the_pods_the_last_tick_and_the_spending_since(
    time: SteppedClock,
) -> None:
    fleet = a_fleet(max_instances=4, max_hourly_usd="4", daily_budget_usd="10")
    a_pod(fleet, READY, hourly_usd=Decimal("0.72"), rate=2.0)
    a_pod(fleet, BOOTING, hourly_usd=Decimal("0.72"), rate=9.0)
    a_pod(fleet, STOPPED, hourly_usd=Decimal(5), stopped_hourly_usd=Decimal("0.06"))
    a_pod(fleet, FAILED, hourly_usd=Decimal(5))
    a_tick(fleet, spent_today_usd=Decimal(5))
    time.advance(60)
    (card,) = overview.overview().cards
    assert (card.billable, dict(card.states)) == (3, {"booting": 1, "ready": 1, "stopped": 1})
    assert card.hourly_usd == Decimal("1.5")
    assert card.spent_today_usd == Decimal("5.025")  # a minute at $1.50/h
    assert (card.ceiling_percent, card.budget_percent) == (37, 50)
    assert card.eta == timedelta(minutes=30)  # only READY pods drain
    assert card.usd_per_million == pytest.approx(Decimal("208.33"), abs=Decimal("0.01"))
    assert card.health.health is Health.UNATTENDED


def test_a_card_shows_how_much_its_pods_work_if_that_is_known(admin_client: Client) -> None:
    fleet = a_fleet()
    a_tick(fleet)
    url = reverse("dashboard-now")
    assert "ready pods busy" not in admin_client.get(url).content.decode()
    a_tick(fleet, token=2, busy_percent=22.4, gpu_percent=31.0, bottleneck="link")
    page = " ".join(admin_client.get(url).content.decode().split())
    assert '<dt>ready pods busy</dt> <dd> 22 % <meter min="0" max="100" value="22"' in page
    assert "<dt>held back by</dt> <dd>link</dd>" in page
    assert "<dt>GPU busy</dt> <dd>31 %</dd>" in page


def test_yesterdays_spending_is_not_todays(time: SteppedClock) -> None:
    fleet = a_fleet()
    a_pod(fleet, READY, hourly_usd=Decimal(1))
    a_tick(fleet, spent_today_usd=Decimal(9))
    time.advance(hours(13).total_seconds())
    (card,) = overview.overview().cards
    assert card.spent_today_usd == Decimal(1)


def test_an_unknown_backlog_is_shown_as_unknown(admin_client: Client) -> None:
    a_tick(a_fleet(), depth=None)
    page = admin_client.get(reverse("dashboard-now")).content.decode()
    assert "<em>unknown</em>" in page


def test_the_most_severe_alerts_come_first_and_silent_ones_are_left_out(
    time: SteppedClock,
) -> None:
    fleet = a_fleet()
    old, worst = an_alert(fleet), an_alert(fleet, subject="pod:2", severity="critical")
    quiet, put_off = an_alert(fleet, subject="pod:3"), an_alert(fleet, subject="pod:4")
    answering.acknowledge([quiet], by="ann")
    answering.snooze([put_off], until=clock.utcnow() + seconds(60), by="ann")
    [card] = overview.overview().cards
    assert [a.pk for a in card.alerts] == [worst.pk, old.pk]


@pytest.mark.parametrize("fleets", [1, 12])
def test_the_queries_do_not_grow_with_fleets_pods_or_alerts(
    fleets: int, django_assert_num_queries: Any
) -> None:
    for _ in range(fleets):
        fleet = a_fleet()
        a_tick(fleet)
        an_alert(fleet, subject=fleet.name)
        for state in (READY, BOOTING, READY):
            a_pod(fleet, state)
    Limits.made()
    with django_assert_num_queries(7):
        found = overview.overview()
        assert [c.sentence for c in found.cards] == ["keeps 1 pod"] * fleets
        assert [len(c.alerts) for c in found.cards] == [1] * fleets


def test_the_whole_first_page_takes_at_most_12_queries(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    for _ in range(3):
        a_tick(a_fleet())
    Limits.made()
    with django_assert_max_num_queries(12):
        assert admin_client.get(reverse("admin:index")).status_code == 200


def test_an_operator_pauses_runs_and_acknowledges(time: SteppedClock) -> None:
    operator, fleet = a_user("operator"), a_fleet()
    alert = an_alert(fleet)
    for mode in ("paused", "running"):
        operator.post(reverse("fleet-mode", args=[fleet.pk]), {"mode": mode})
        fleet.refresh_from_db()
        assert fleet.mode == mode
    assert "operator" in fleet.history.latest().history_change_reason
    operator.post(reverse("alert-ack", args=[alert.pk]))
    alert.refresh_from_db()
    assert alert.acknowledged_by == "operator"
    # STOP ALL asks first, on its own page.
    assert (
        operator.post(reverse("fleet-mode", args=[fleet.pk]), {"mode": "stop_all"}).status_code
        == 404
    )


@pytest.mark.fault(69)
def test_a_viewer_sees_no_buttons_and_is_refused_when_posting(time: SteppedClock) -> None:
    viewer, fleet = a_user("viewer"), a_fleet()
    alert = an_alert(fleet)
    page = viewer.get(reverse("admin:index")).content.decode()
    assert fleet.name in page
    assert alert.text in page
    assert 'method="post"' not in viewer.get(reverse("dashboard-now")).content.decode()
    assert (
        viewer.post(reverse("fleet-mode", args=[fleet.pk]), {"mode": "paused"}).status_code == 403
    )
    assert viewer.post(reverse("alert-ack", args=[alert.pk])).status_code == 403
    fleet.refresh_from_db()
    alert.refresh_from_db()
    assert (fleet.mode, alert.acknowledged_by) == ("running", "")


def test_after_a_logout_the_page_reloads_to_log_in(client: Client) -> None:
    for name in ("dashboard-now", "dashboard-chart"):
        answer = client.get(reverse(name), {"part": "1"})
        assert (answer.status_code, answer["HX-Refresh"]) == (403, "true")
    assert client.post(reverse("fleet-mode", args=[1]), {"mode": "paused"}).status_code == 302


def test_an_empty_first_page_says_how_a_fleet_comes_there(
    admin_client: Client, client: Client
) -> None:
    page = admin_client.get(reverse("admin:index")).content.decode()
    assert "Your first fleet, about 3 minutes" in page
    client.force_login(User.objects.create_user("new", password="x", is_staff=True))
    assert "ask an admin to add you" in client.get(reverse("admin:index")).content.decode()


def test_times_are_in_the_time_zone_of_the_reader(admin_client: Client, time: SteppedClock) -> None:
    fleet = a_fleet()
    a_pod(fleet, READY, rate=1.0)
    a_tick(fleet, depth=3600)  # so it is done in an hour
    url = reverse("dashboard-now")
    assert ">13:00</time>" in admin_client.get(url).content.decode()
    for zone, shown in (("Asia/Tokyo", ">22:00</time>"), ("../../etc/passwd", ">13:00</time>")):
        admin_client.cookies["podfleet_zone"] = zone
        assert shown in admin_client.get(url).content.decode()


@pytest.mark.fault(68)
def test_markup_in_a_decision_or_an_alert_stays_text(
    admin_client: Client, time: SteppedClock
) -> None:
    fleet = a_fleet()
    a_tick(fleet, sentence="<script>alert(1)</script>")
    an_alert(fleet, text="<img src=x onerror=alert(2)>")
    page = admin_client.get(reverse("dashboard-now")).content.decode()
    assert "<script>alert" not in page
    assert "<img src=x" not in page


def test_fleets_that_need_an_operator_come_first(time: SteppedClock) -> None:
    for name in ("a-paused", "b-idle", "c-working", "d-warned", "e-critical"):
        mode = "paused" if name == "a-paused" else "running"
        a_tick(a_fleet(name=name, mode=mode), depth=5 if name == "c-working" else 0)
    an_alert(Fleet.objects.get(name="d-warned"))
    critical = Fleet.objects.get(name="e-critical")
    an_alert(critical, subject="pod:2")
    an_alert(critical, subject="pod:3", severity="critical")
    shown = [card.name for card in overview.overview().cards]
    assert shown == ["e-critical", "d-warned", "c-working", "a-paused", "b-idle"]
    answering.acknowledge(Alert.objects.all(), by="ann")
    shown = [card.name for card in overview.overview().cards]
    assert shown == ["c-working", "a-paused", "b-idle", "d-warned", "e-critical"]


def seen_of(page: str) -> str:
    return page.rpartition('name="seen" value="')[2].partition('"')[0]


def test_the_renewal_sends_nothing_while_nothing_changes(
    admin_client: Client, time: SteppedClock
) -> None:
    fleet = a_fleet()
    a_tick(fleet)
    an_alert(fleet)
    url = reverse("dashboard-now")
    seen = seen_of(admin_client.get(url).content.decode())
    answer = admin_client.get(url, {"seen": seen})
    assert (answer.status_code, answer.content) == (204, b"")
    time.advance(5)
    assert admin_client.get(url, {"seen": seen}).status_code == 204
    assert a_user("viewer").get(url, {"seen": seen}).status_code == 200  # it has no buttons
    a_tick(fleet, token=2, depth=7)
    page = admin_client.get(url, {"seen": seen}).content.decode()
    assert "7 <span" in page
    assert seen_of(page) != seen


def test_alerts_stand_with_their_fleet_and_the_others_apart(
    admin_client: Client, time: SteppedClock
) -> None:
    fleet = a_fleet(name="emb")
    a_tick(fleet, depth=0)
    for n in range(5):
        an_alert(fleet, subject=f"pod:{n}", text=f"pod {n} is old")
    an_alert(fleet, subject="account:1", cause="credentials", text="the key is refused")
    an_alert(fleet, subject="account:2", severity="info", text="only that you know")
    Alert.objects.filter(subject__startswith="account").update(fleet=None)
    found = overview.overview()
    assert [alert.text for alert in found.apart] == ["the key is refused", "only that you know"]
    assert (found.things, len(found.cards[0].alerts)) == (2, 5)
    page = admin_client.get(reverse("dashboard-now")).content.decode()
    assert page.count("is old") == 3
    assert "2 more" in page
    assert "2 things need you" in page


def test_what_today_will_cost_is_compared_with_the_budget_of_the_installation(
    admin_client: Client, time: SteppedClock
) -> None:
    fleet = a_fleet()
    a_pod(fleet, READY, hourly_usd=Decimal(1))
    a_tick(fleet, spent_today_usd=Decimal(20))
    assert overview.overview().expected_usd == Decimal(32)  # it is noon
    Limits.objects.update(daily_budget_usd=Decimal(30))
    assert overview.overview().over_usd == Decimal(2)
    assert '(budget $30.00: <span aria-hidden="true">▲</span> $2.00 over)' in " ".join(
        admin_client.get(reverse("dashboard-now")).content.decode().split()
    )
    Limits.objects.update(daily_budget_usd=Decimal(32))
    assert overview.overview().over_usd is None


def test_what_holds_a_fleet_back_links_to_its_field(
    admin_client: Client, time: SteppedClock
) -> None:
    fleet = a_fleet(name="emb", target_depth_per_pod=100)
    a_pod(fleet, READY)
    values = {"depth": 5600, "target": 3, "desired": 3}
    a_tick(fleet, binding="max_instances", **values)
    page = " ".join(admin_client.get(reverse("dashboard-now")).content.decode().split())
    field = f"{reverse('admin:fleet_fleet_change', args=[fleet.pk])}#id_max_instances"
    assert f'Held at 3 by <a class="pf-remedy" href="{field}">Max pods</a> (56 wanted)' in page
    time.advance(1)
    a_tick(fleet, token=2, binding="installation_instances", **values)
    page = admin_client.get(reverse("dashboard-now")).content.decode()
    assert (
        f'href="{reverse("admin:fleet_limits_changelist")}">Most pods at once, all fleets</a>'
        in page
    )
    time.advance(1)
    a_tick(fleet, token=3, binding="worth_booting", **values)
    assert "Held at" not in admin_client.get(reverse("dashboard-now")).content.decode()
    time.advance(1)
    a_tick(fleet, token=4, binding="min_busy_percent", held_back="1 pod is busy 22 %", **values)
    page = admin_client.get(reverse("dashboard-now")).content.decode()
    assert "1 pod is busy 22 %" in page
    assert '#id_min_busy_percent">Min busy share</a>' in page


def test_25_fleets_are_on_a_page_and_the_renewal_keeps_the_page(
    admin_client: Client, time: SteppedClock
) -> None:
    for n in range(27):
        a_tick(a_fleet(name=f"fleet-{n:02}"), depth=0)
    first = admin_client.get(reverse("admin:index")).content.decode()
    assert first.count('class="pf-row"') == 25
    assert "Fleets 1 to 25 of 27" in first
    second = admin_client.get(reverse("admin:index"), {"page": "2"}).content.decode()
    assert second.count('class="pf-row"') == 2
    assert f'hx-get="{reverse("dashboard-now")}?page=2"' in second
    one = admin_client.get(reverse("dashboard-now"), {"q": "T-13", "show": "quiet"})
    assert one.content.decode().count('class="pf-row"') == 1
    none = admin_client.get(reverse("dashboard-now"), {"q": '"><script>', "page": "-1"})
    assert "<script>" not in none.content.decode()
    assert "Show all fleets" in none.content.decode()


def test_the_menu_has_a_number_beside_alerts_only_if_one_is_open(
    admin_client: Client, time: SteppedClock
) -> None:
    def badges() -> list[str]:
        page = admin_client.get(reverse("admin:index"))
        groups = page.context["sidebar_navigation"]
        return [i["badge"] for group in groups for i in group["items"] if "badge" in i]

    assert badges() == []
    an_alert(a_fleet())
    assert badges() == ["1"]


def test_each_state_has_its_icon_its_word_and_its_colour(admin_client: Client) -> None:
    fleet = a_fleet(name="emb", mode="paused")
    for severity in ("critical", "warning", "info"):
        an_alert(fleet, subject=severity, severity=severity)
    an_alert(None, subject="installation", severity="critical", text="everything is stopped")
    page = " ".join(admin_client.get(reverse("admin:index")).content.decode().split())
    for severity, icon, word in (
        ("critical", "✖", "Critical"), ("warning", "▲", "Warning"), ("info", "○", "Info"),
    ):  # fmt: skip
        assert f'<li class="pf-{severity}"' in page
        assert f'<span aria-hidden="true">{icon}</span> {word}</span>' in page
    assert '<span class="pf-badge pf-quiet"><span aria-hidden="true">‖</span> Paused</span>' in page
