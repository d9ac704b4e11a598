"""The list of decisions tells changes and holds, and its pages follow each other."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from fleet.models import Fleet, Tick
from pods.base import clock
from pods.emulators.base import SteppedClock
from tests.support.admin_pages import a_user
from tests.support.factories import a_fleet, hours, seconds

pytestmark = pytest.mark.django_db
LIST = "admin:fleet_tick_changelist"
HELD: dict[str, Any] = {"binding": "max_instances", "held_back": "max_instances is 3", "target": 3}


def ticks(fleet: Fleet, count: int, *, ago: timedelta = timedelta(0), **values: Any) -> None:
    """So many decisions, one every 15 s, the newest so long ago."""
    facts: dict[str, Any] = {
        "depth": 57_100, "active": 3, "desired": 3, "target": 3, "sentence": "keeps 3 pods",
        "steps": [{"rule": "demand", "before": 3, "after": 56, "because": "items wait"}],
    }  # fmt: skip
    token = Tick.objects.count()
    Tick.objects.bulk_create(
        Tick(
            fleet=fleet, at=clock.utcnow() - ago - seconds(15 * n), token=token + n,
            **{**facts, **values},
        )
        for n in range(count)
    )  # fmt: skip


def lines(page: Any) -> list[tuple[str, int]]:
    return [(tick.binding, tick.line.count) for tick in page.context["cl"].result_list]


def text(page: Any) -> str:
    return " ".join(page.content.decode().split())


@pytest.fixture
def viewer() -> Client:
    return a_user("viewer")


def test_repeats_are_one_line_and_calm_decisions_are_left_out(
    viewer: Client, time: SteppedClock
) -> None:
    fleet = a_fleet(name="emb")
    ticks(fleet, 48, **HELD)
    ticks(fleet, 1, ago=hours(1), spawned=1, sentence="starts 1 pod")
    ticks(fleet, 20, ago=hours(2), depth=0)
    page = viewer.get(reverse(LIST))
    assert lines(page) == [("max_instances", 48), ("", 1)]
    shown = text(page)
    assert "same for 11 min 45 s, 48 times" in shown
    field = f"{reverse('admin:fleet_fleet_change', args=[fleet.pk])}#id_max_instances"
    assert f'<a class="pf-remedy" href="{field}">Max pods</a>' in shown
    assert "57.1 k" in shown
    assert ">56<" in shown  # wanted
    assert "3 +1" in shown  # pods
    assert lines(viewer.get(reverse(LIST), {"show": "all"}))[-1] == ("", 20)
    assert lines(viewer.get(reverse(LIST), {"show": "changes"})) == [("", 1)]
    assert lines(viewer.get(reverse(LIST), {"binding": "brake"})) == []


def test_an_unknown_backlog_is_told(viewer: Client, time: SteppedClock) -> None:
    ticks(a_fleet(), 4, depth=None, held_back="no host")
    page = viewer.get(reverse(LIST))
    assert lines(page) == [("", 4)]
    assert "Unknown" in text(page)
    assert "No host" in text(page)


def test_what_is_older_than_a_day_is_shown_on_request(viewer: Client, time: SteppedClock) -> None:
    ticks(a_fleet(), 2, ago=hours(25), **HELD)
    assert lines(viewer.get(reverse(LIST))) == []
    assert lines(viewer.get(reverse(LIST), {"within": "7d"})) == [("max_instances", 2)]
    assert lines(viewer.get(reverse(LIST), {"within": "all"})) == [("max_instances", 2)]
    assert lines(viewer.get(reverse(LIST), {"within": "nonsense"})) == []


def test_older_pages_follow_and_a_run_that_goes_on_says_so(
    viewer: Client, time: SteppedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fleet.admin.decisions.READ", 30)
    fleet = a_fleet(name="emb")
    ticks(fleet, 48, **HELD)
    page = viewer.get(reverse(LIST), {"show": "all"})
    assert lines(page) == [("max_instances", 30)]
    assert "or longer, 30 times" in text(page)
    older = page.context["cl"].older
    assert "show=all" in older
    last = viewer.get(reverse(LIST) + older)
    assert lines(last) == [("max_instances", 18)]
    assert last.context["cl"].older == ""
    assert lines(viewer.get(reverse(LIST), {"before": "x"})) == [("max_instances", 30)]
    assert viewer.get(reverse(LIST), {"before": "9" * 18}).status_code == 200


@pytest.mark.parametrize("count", [3, 300])
def test_the_list_has_a_fixed_number_of_queries(
    viewer: Client, count: int, time: SteppedClock, django_assert_max_num_queries: Any
) -> None:
    for number in range(1 + count // 50):
        ticks(a_fleet(stream=f"s{number}"), count // 3, spawned=1)
        ticks(Fleet.objects.latest("pk"), count, ago=hours(3), **HELD)
    viewer.get(reverse(LIST))
    with django_assert_max_num_queries(13):
        assert viewer.get(reverse(LIST)).context["cl"].result_list


def test_the_list_of_one_fleet_does_not_repeat_its_name(viewer: Client, time: SteppedClock) -> None:
    fleet = a_fleet(name="emb")
    ticks(fleet, 2, **HELD)
    assert "field-fleet_link" in text(viewer.get(reverse(LIST)))
    one = viewer.get(reverse(LIST), {"fleet__id__exact": fleet.pk})
    assert "field-fleet_link" not in text(one)
    assert lines(one) == [("max_instances", 2)]


def test_a_decision_says_in_its_head_what_it_did_and_what_held_it(
    viewer: Client, time: SteppedClock
) -> None:
    fleet = a_fleet(name="embed-docs")
    money = {"hourly_usd": Decimal("2.55"), "spent_today_usd": Decimal("17.42")}
    steps = [
        {"rule": "demand", "before": 3, "after": 42, "because": "41.8 M items"},
        {"rule": "max_instances", "before": 42, "after": 3, "because": "max_instances is 3"},
    ]
    ticks(fleet, 3, **{**HELD, **money, "depth": 41_800_000, "steps": steps})
    tick = Tick.objects.order_by("-at")[1]
    page = text(viewer.get(reverse("admin:fleet_tick_change", args=[tick.pk])))
    assert "embed-docs 11:59: held at 3 by Max pods" in page
    assert "41.8 M" in page
    assert "$2.55/h" in page
    assert "<dt>Wanted</dt><dd>42" in page
    field = f"{reverse('admin:fleet_fleet_change', args=[fleet.pk])}#id_max_instances"
    assert page.count(f'href="{field}"') == 2
    newest, oldest = Tick.objects.latest("at"), Tick.objects.earliest("at")
    for near in (newest, oldest):
        assert f'href="{reverse("admin:fleet_tick_change", args=[near.pk])}"' in page
    assert viewer.get(reverse("admin:fleet_tick_change", args=[999_999])).status_code == 404


def test_who_may_not_see_decisions_sees_none(client: Client, django_user_model: Any) -> None:
    ticks(a_fleet(), 1, **HELD)
    client.force_login(django_user_model.objects.create_user("new", password="x", is_staff=True))
    assert client.get(reverse(LIST)).status_code == 403
    page = reverse("admin:fleet_tick_change", args=[Tick.objects.get().pk])
    assert client.get(page).status_code == 403
