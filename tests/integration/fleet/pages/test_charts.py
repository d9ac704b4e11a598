"""The charts: which samples and fleets they take, what today costs, and their figures as a table."""

from datetime import timedelta
from decimal import Decimal
from html import unescape
from itertools import pairwise
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils.timezone import get_current_timezone

from fleet.models import Fleet, Limits, Sample, Tick
from fleet.pages import chart_facts, charts
from fleet.pages.chart_facts import STRETCHES, ChartFacts
from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.models import PriceSegment
from pods.states import READY
from tests.support.factories import NOON, a_fleet, a_pod, hours

pytestmark = pytest.mark.django_db
MINUTES = timedelta(minutes=1)


def a_sample(fleet: Fleet, ago: timedelta, **values: Any) -> None:
    facts = {"depth": 7, "pods": 2, "ready": 1, **values}
    Sample.objects.create(fleet=fleet, at=NOON - ago, **facts)


def drawn(stretch: str = "1h", fleet: int | None = None) -> ChartFacts:
    return chart_facts.facts(STRETCHES[stretch], fleet=fleet, now=clock.utcnow())


def part(client: Client, **query: Any) -> str:
    answer = client.get(reverse("dashboard-chart"), {"part": 1, **query})
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def test_charts_take_the_grains_of_their_stretch(time: SteppedClock) -> None:
    fleet = a_fleet()
    for ago, grain in ((0.2, 0), (0.3, 1), (0.5, 2), (5, 0), (6, 1), (30, 1), (40, 2), (400, 2)):
        a_sample(fleet, hours(ago), grain=grain)
    for stretch, count in (("1h", 3), ("24h", 3), ("7d", 2)):
        known = [value for value in drawn(stretch).waiting[0][1] if value is not None]
        # Each sample counts for its own step and the three that follow, as far as the chart goes.
        assert len(known) == sum(
            min(1 + chart_facts.CARRIED, len(known) - n) for n in range(0, len(known), 4)
        )
        assert count - 1 <= len(known) / 4 <= count


def test_four_fleets_have_lines_and_the_others_are_together(time: SteppedClock) -> None:
    for n in range(7):
        fleet = a_fleet(name=f"fleet-{n}")
        Tick.objects.create(
            fleet=fleet, at=NOON, token=1, depth=1, active=0, desired=0, target=0, sentence="s",
            spent_today_usd=Decimal(n),
        )  # fmt: skip
        a_sample(fleet, 0 * MINUTES, depth=10 * n, pods=n, ready=1)
    found = drawn()
    assert [name for name, _ in found.waiting] == ["fleet-6", "fleet-5", "fleet-4", "fleet-3"]
    assert (found.others_count, found.others[-1]) == (3, 30)
    assert (found.billed[-1], found.ready[-1]) == (21, 7)


def test_an_unknown_backlog_is_a_gap_and_never_0(time: SteppedClock) -> None:
    fleet = a_fleet()
    for ago, depth in ((40, 5), (30, None), (20, 5)):
        a_sample(fleet, ago * MINUTES, depth=depth)
    [(_, values)] = drawn().waiting
    assert 0 not in values
    made = charts.charts(drawn(), get_current_timezone())
    assert made is not None
    assert len(made.panels[0].lines[0].runs) == 2


def test_what_a_day_cost_begins_at_midnight_utc_and_only_ended_prices_are_booked(
    time: SteppedClock,
) -> None:
    fleet = a_fleet()
    pod = a_pod(fleet, READY, hourly_usd=Decimal(1))
    PriceSegment.objects.all().delete()
    for since, until, usd in ((30, 10, 2), (10, None, 1)):
        PriceSegment.objects.create(
            pod=pod, fleet=fleet, hourly_usd=usd, since=NOON - hours(since),
            until=None if until is None else NOON - hours(until),
        )  # fmt: skip
    last = drawn("24h").spent[-1]
    assert last.booked_usd == pytest.approx(2 * 2)  # from 0:00 to 2:00
    assert last.usd == pytest.approx(2 * 2 + 10)
    at = drawn("24h").at.index(NOON - hours(12))
    assert drawn("24h").spent[at].usd == 0
    assert drawn("24h").spent[at - 1].usd == pytest.approx(2 * (24 - 6 - 1 / 6))
    other = a_fleet(name="other")
    assert drawn(fleet=other.pk).spent[-1].usd == 0


def test_within_a_day_the_cost_never_falls(time: SteppedClock) -> None:
    fleet = a_fleet()
    for n in range(20):
        pod = a_pod(fleet, READY)
        PriceSegment.objects.filter(pod=pod).delete()
        PriceSegment.objects.create(
            pod=pod, fleet=fleet, hourly_usd=Decimal("0.37"), since=NOON - n * 29 * MINUTES,
            until=NOON - n * 11 * MINUTES if n % 3 else None,
        )  # fmt: skip
    found = drawn("1h").spent
    for before, after in pairwise(found):
        assert after.usd >= before.usd - 1e-9
        assert after.booked_usd <= after.usd + 1e-9


def test_there_is_no_chart_of_fewer_than_two_samples(
    admin_client: Client, time: SteppedClock
) -> None:
    fleet = a_fleet()
    assert "after two samples" in part(admin_client)
    a_sample(fleet, hours(2))
    assert "after two samples" in part(admin_client)
    a_sample(fleet, 9 * MINUTES)
    assert "<polyline" in part(admin_client)


def test_each_chart_has_a_table_and_says_what_it_shows(
    admin_client: Client, time: SteppedClock
) -> None:
    fleet = a_fleet(name="emb", daily_budget_usd="3")
    a_pod(fleet, READY, hourly_usd=Decimal(1))
    PriceSegment.objects.update(since=NOON - hours(2))
    Limits.objects.update_or_create(pk=1, defaults={"daily_budget_usd": Decimal(500)})
    for ago, depth in ((59, 57_123), (0, 41_800_000)):
        a_sample(fleet, ago * MINUTES, depth=depth)
    page = part(admin_client)
    assert page.count("Show as table") == 3
    assert "Items waiting in the last 1 h: emb from" in page
    assert "41.8 M</td>" in page
    assert page.count("Times in UTC") == page.count("Times in") == 1
    assert "budget $500.00" in page  # far above: named, and not drawn
    assert "pf-line-budget" not in page
    own = part(admin_client, fleet=fleet.pk)
    assert "budget $3.00" in own
    assert "pf-line-budget" in own


def test_the_charts_are_a_page_of_their_own_and_refuse_what_they_do_not_know(
    admin_client: Client, client: Client, time: SteppedClock
) -> None:
    fleet = a_fleet(name="emb")
    page = admin_client.get(reverse("dashboard-chart"), {"stretch": "7d", "fleet": fleet.pk})
    assert page.status_code == 200
    for query in ({"stretch": "1y"}, {"fleet": "0"}, {"fleet": "x"}):
        assert admin_client.get(reverse("dashboard-chart"), query).status_code == 404
    client.logout()
    assert client.get(reverse("dashboard-chart")).status_code == 302


@pytest.mark.parametrize("fleets", [1, 12])
def test_the_queries_of_charts_do_not_grow(
    fleets: int, time: SteppedClock, django_assert_num_queries: Any
) -> None:
    for _ in range(fleets):
        a_sample(a_fleet(), MINUTES)
    Limits.made()
    with django_assert_num_queries(4):
        drawn("24h")
