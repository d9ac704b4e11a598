"""The page of the spending: its head, its bars, its rows by fleet, and the tab of one fleet."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from fleet.models import Balance, Fleet, Limits
from fleet.pages import money
from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.models import Pod, PriceSegment
from pods.states import READY, TERMINATED
from tests.support.admin_pages import a_user
from tests.support.factories import a_fleet, a_pod, an_account, hours

pytestmark = pytest.mark.django_db


def billed(fleet: Fleet, usd: str, ago: timedelta, lasted: timedelta | None = None) -> Pod:
    """A pod that has cost so much an hour, from so long ago; `lasted`: it has ended."""
    pod = a_pod(fleet, READY if lasted is None else TERMINATED, done=1_000_000)
    PriceSegment.objects.filter(pod=pod).delete()
    since = clock.utcnow() - ago
    segment = PriceSegment(pod=pod, fleet=fleet, hourly_usd=Decimal(usd), since=since)
    if lasted is not None:
        segment.until = since + lasted
        segment.cost_micros = int(segment.cost_usd(segment.until) * 1_000_000)
    segment.save()
    return pod


def text(client: Client, **query: str | int) -> str:
    return " ".join(client.get(reverse("money"), query).content.decode().split())


@pytest.fixture
def viewer() -> Client:
    return a_user("viewer")


def test_the_head_says_what_today_costs_until_now_and_by_midnight(
    viewer: Client, time: SteppedClock
) -> None:
    billed(a_fleet(name="emb"), "3", hours(2))
    assert "$6.00 today, $42.00 by midnight UTC" in text(viewer)
    assert "No budget per day for all fleets" in text(viewer)
    Limits.made()
    Limits.objects.update(daily_budget_usd=40)
    page = text(viewer)
    assert "Budget per day of all fleets $40.00" in page
    assert "$2.00 over at this price" in page


def test_each_day_has_a_bar_and_that_of_today_what_is_expected(
    viewer: Client, time: SteppedClock
) -> None:
    fleet = a_fleet(name="emb")
    billed(fleet, "1", hours(2))  # 2 today, 14 by midnight
    billed(fleet, "1", hours(31), lasted=hours(7))  # from 05:00 to 12:00 of yesterday
    today, yesterday, before = money.spending(3).bars
    assert (today.usd, today.expected_usd) == (Decimal(2), Decimal(14))
    assert (today.width, today.expected_width) == (142, 1000)
    assert (yesterday.usd, yesterday.width, yesterday.expected_usd) == (Decimal(7), 500, None)
    assert (before.usd, before.width) == (Decimal(0), 0)
    page = text(viewer, days=3)
    assert page.count("<svg viewBox") == 3
    assert page.count("pf-expected") == 1
    assert '$2.00 <span class="pf-dim">→ $14.00</span>' in page


def test_fleets_are_listed_by_cost_with_the_price_of_items_and_zeros_are_folded(
    viewer: Client, time: SteppedClock
) -> None:
    for name, usd in (("cheap", "1"), ("dear", "4")):
        billed(a_fleet(name=name, stream=name), usd, hours(2))
    for name in ("quiet", "silent"):
        billed(a_fleet(name=name, stream=name), "1", hours(24 * 40), lasted=hours(1))
    found = money.spending(7)
    assert [row.name for row in found.dear] == ["dear", "cheap"]
    assert [row.name for row in found.free] == ["quiet", "silent"]
    page = text(viewer)
    assert "2 fleets cost nothing in these days" in page
    table, _, folded = page.partition("2 fleets cost nothing")
    assert "quiet" in folded
    assert "quiet" not in table
    assert "$8.00" in table  # a million items on `dear`
    assert "$1.00 for a million items" in folded


def test_a_fleet_has_a_page_of_its_own_spending_and_downloads(
    viewer: Client, time: SteppedClock
) -> None:
    emb, other = a_fleet(name="emb", daily_budget_usd="30"), a_fleet(name="other", stream="o")
    billed(emb, "3", hours(2))
    billed(other, "5", hours(2))
    page = text(viewer, fleet=emb.pk)
    assert "$6.00 today, $42.00 by midnight UTC" in page
    assert "Budget per day $30.00" in page
    assert f"?fleet={emb.pk}&amp;days=30" in page
    assert "other" not in page.partition('id="content"')[2]
    asked = {"fleet": emb.pk, "format": "json"}
    assert {e["fleet"] for e in viewer.get(reverse("money"), asked).json()["entries"]} == {"emb"}
    answer: Any = viewer.get(reverse("money"), {"fleet": emb.pk, "format": "csv"})
    assert b"other" not in answer.getvalue()
    assert viewer.get(reverse("money"), {"fleet": emb.pk + 99}).status_code == 404
    assert viewer.get(reverse("money"), {"fleet": "x"}).status_code == 404


@pytest.mark.parametrize("count", [1, 12])
def test_the_page_has_a_fixed_number_of_queries(
    viewer: Client, count: int, time: SteppedClock, django_assert_max_num_queries: Any
) -> None:
    for n in range(count):
        account = an_account("runpod")
        billed(a_fleet(stream=f"s{n}"), "1", hours(2))
        for ago, usd in ((5, 10), (1, 7)):
            Balance.objects.create(
                account=account, at=clock.utcnow() - hours(ago), usd=usd, booked_micros=(5 - ago) * 700_000
            )  # fmt: skip
    text(viewer)
    with django_assert_max_num_queries(17):
        page = text(viewer)
    assert page.count('<td class="pf-number">$0.20</td>') == count  # of $3.00 we booked $2.80


def test_without_any_pod_the_page_says_what_would_be_here(viewer: Client) -> None:
    a_fleet(name="emb")
    page = text(viewer)
    assert "$0.00 today, $0.00 by midnight UTC" in page
    assert "Each fleet has a row here after its first pod." in page
