"""Manual holds: their end is a choice, and they can be ended now."""

import html
from datetime import timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import localtime

from fleet.models import Fleet, Override
from fleet.tick import ticking
from pods.base.clock import utcnow
from tests.support.admin_pages import a_user, fields_of, page_of
from tests.support.factories import a_fleet, hours

pytestmark = pytest.mark.django_db
ADD = "admin:fleet_override_add"
HOLDS = "admin:fleet_override_changelist"


@pytest.fixture
def operator() -> Client:
    return a_user("operator")


def given(fleet: Fleet, **values: Any) -> dict[str, Any]:
    return {"fleet": fleet.pk, "pods": "3", "because": "a demo", **values}


@pytest.mark.parametrize(("lasts", "count"), [("1h", 1), ("4h", 4)])
def test_a_hold_ends_in_some_hours(operator: Client, lasts: str, count: int) -> None:
    fleet = a_fleet()
    assert operator.post(reverse(ADD), given(fleet, lasts=lasts)).status_code == 302
    hold = Override.objects.get()
    left = hold.until - utcnow()
    assert hours(count) - timedelta(minutes=2) < left <= hours(count)
    assert (hold.pods, hold.by, hold.because) == (3, "operator", "a demo")


def test_a_hold_ends_tomorrow_at_eight_where_the_operator_is(operator: Client) -> None:
    operator.cookies["podfleet_zone"] = "Asia/Tokyo"
    operator.post(reverse(ADD), given(a_fleet(), lasts="morning"))
    tokyo = Override.objects.get().until.astimezone(ZoneInfo("Asia/Tokyo"))
    assert (tokyo.hour, tokyo.minute) == (8, 0)
    assert timedelta(0) < tokyo - utcnow() <= timedelta(hours=32)


def test_another_end_is_a_time_and_cannot_be_left_out(operator: Client) -> None:
    fleet = a_fleet()
    answer = operator.post(reverse(ADD), given(fleet, lasts="other"))
    page = html.unescape(answer.content.decode())
    assert "give the time at which the hold ends" in page
    day = (utcnow() + timedelta(days=400)).date()
    sent = given(fleet, lasts="other", until_0=f"{day}", until_1="08:00")
    assert operator.post(reverse(ADD), sent).status_code == 302
    assert Override.objects.get().until.date() == day


@pytest.mark.one_database
def test_an_end_that_no_page_could_show_is_refused_at_its_field(operator: Client) -> None:
    operator.cookies["podfleet_zone"] = "Asia/Tokyo"
    sent = given(a_fleet(), lasts="other", until_0="9999-12-31", until_1="23:59")
    [said] = operator.post(reverse(ADD), sent).context["adminform"].form.errors["until"]
    assert "is too far ahead; give a moment before" in said
    assert not Override.objects.exists()


def test_an_end_that_is_over_is_refused_in_the_zone_of_the_operator(operator: Client) -> None:
    operator.cookies["podfleet_zone"] = "Asia/Tokyo"
    sent = given(a_fleet(), lasts="other", until_0="2020-01-01", until_1="08:00")
    page = html.unescape(operator.post(reverse(ADD), sent).content.decode())
    assert "that time is over" in page
    assert " in JST; give a later one" in page
    assert not Override.objects.exists()


def test_an_archived_fleet_cannot_be_held(operator: Client) -> None:
    gone = a_fleet(name="gone", archived_at=utcnow(), mode="paused")
    assert "gone" not in operator.get(reverse(ADD)).content.decode()
    answer = operator.post(reverse(ADD), given(gone, lasts="1h"))
    assert answer.status_code == 200
    assert not Override.objects.exists()


def test_a_hold_is_ended_now_and_the_formula_decides_again(
    operator: Client, redis_url: str
) -> None:
    fleet = a_fleet()
    hold = Override.objects.create(
        fleet=fleet, pods=2, until=utcnow() + hours(1), by="ann", because="a demo"
    )
    assert "holds the fleet at 2 pods" in ticking.preview(fleet).sentence
    page = operator.get(reverse(HOLDS)).content.decode()
    assert "2 pods" in page
    assert f'value="{hold.pk}" aria-label="End now: {hold}"' in html.unescape(page)
    chosen = {"action": "end_now", "_selected_action": [hold.pk]}
    answer = operator.post(reverse(HOLDS), chosen, follow=True)
    assert "1 hold ended; in force from the next tick" in answer.content.decode()
    assert "holds the fleet" not in ticking.preview(fleet).sentence
    assert "over" in operator.get(reverse(HOLDS)).content.decode()


def test_an_edit_of_a_hold_keeps_its_end(operator: Client) -> None:
    hold = Override.objects.create(
        fleet=a_fleet(), pods=2, until=utcnow() + hours(9), by="ann", because="a demo"
    )
    page = operator.get(page_of(hold)).content.decode()
    assert "Replaces the calculation. Limits still apply." in page
    sent = fields_of(hold, user="operator")
    end = localtime(hold.until)
    sent |= {"until_0": f"{end:%Y-%m-%d}", "until_1": f"{end:%H:%M:%S}", "pods": "4"}
    assert operator.post(page_of(hold), sent).status_code == 302
    hold.refresh_from_db()
    assert hold.pods == 4
    assert abs(hold.until - (utcnow() + hours(9))) < timedelta(minutes=2)


def test_a_viewer_sees_holds_and_ends_none(operator: Client) -> None:
    hold = Override.objects.create(
        fleet=a_fleet(), pods=2, until=utcnow() + hours(1), by="ann", because="a demo"
    )
    viewer = a_user("viewer")
    for page in (page_of(hold), reverse(HOLDS)):
        shown = viewer.get(page).content.decode()
        assert "a demo" in shown
        assert "End now" not in shown
    viewer.post(reverse(HOLDS), {"action": "end_now", "_selected_action": [hold.pk]})
    hold.refresh_from_db()
    assert hold.until > utcnow()
