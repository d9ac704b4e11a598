"""The rows of the first page: the line of the backlog, when it is done, the pods, the last failure."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.test import Client
from django.urls import reverse

from fleet.models import Fleet, Limits, Sample, Tick
from fleet.pages import renewal, row_facts, sparks
from fleet.pages.listing import Wanted
from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.rules import PodRule
from pods.states import BOOTING, DRAINING, FAILED, READY
from tests.support.factories import NOON, a_fleet, a_pod, hours

pytestmark = pytest.mark.django_db
MINUTES = timedelta(minutes=1)


def a_tick(fleet: Fleet, **values: Any) -> None:
    facts: dict[str, Any] = {
        "at": clock.utcnow(), "token": 1, "depth": 3600, "active": 1, "desired": 1, "target": 1,
        "sentence": "keeps 1 pod", **values,
    }  # fmt: skip
    Tick.objects.create(fleet=fleet, **facts)


def rows() -> dict[int, row_facts.RowFacts]:
    found, _ = renewal.first_page(Wanted()).rows(AnonymousUser())
    return dict(found)


def page(client: Client) -> str:
    return " ".join(client.get(reverse("dashboard-now")).content.decode().split())


def test_the_line_of_the_backlog_has_gaps_where_it_was_unknown(time: SteppedClock) -> None:
    fleet = a_fleet()
    a_pod(fleet, READY, rate=1.0)
    a_tick(fleet, depth=50)
    for ago, depth in ((30, 100), (25, 80), (20, None), (15, 60), (10, 50)):
        Sample.objects.create(
            fleet=fleet, at=NOON - ago * MINUTES, grain=1, depth=depth, pods=1, ready=1
        )
    Sample.objects.create(fleet=fleet, at=NOON - hours(7), grain=1, depth=900, pods=1)
    drawn = rows()[fleet.pk].spark
    assert drawn is not None
    assert [len(line.split()) for line in drawn.lines] == [2, 2]
    assert drawn.text == "Items waiting in the last 6 hours: from 100 to 50, at most 100"
    assert drawn.ahead.split()[-1] == f"{sparks.PAST + 30 * 50 / 7200:.1f},23.0"  # 50 s of 2 h


def test_one_sample_makes_no_line(time: SteppedClock) -> None:
    fleet = a_fleet()
    a_tick(fleet)
    Sample.objects.create(fleet=fleet, at=NOON - MINUTES, grain=1, depth=5, pods=1)
    assert rows()[fleet.pk].spark is None


def test_a_backlog_that_is_never_done_says_why(admin_client: Client, time: SteppedClock) -> None:
    fleet = a_fleet()
    a_tick(fleet)
    assert "never at this rate:</span> no pod is ready" in page(admin_client)
    a_pod(fleet, READY, rate=0.0)
    assert "never at this rate:</span> the ready pods finish nothing" in page(admin_client)
    a_pod(fleet, READY, rate=1.0)
    assert "never at this rate" not in page(admin_client)
    assert '>13:00</time> <span class="pf-dim">(in 1 h)' in page(admin_client)


def test_the_bar_of_pods_is_as_wide_as_the_most_pods(time: SteppedClock) -> None:
    fleet = a_fleet(max_instances=8)
    for state in (READY, READY, BOOTING, DRAINING):
        a_pod(fleet, state)
    a_tick(fleet)
    parts = rows()[fleet.pk].parts
    assert [(p.kind, p.count, p.at, p.width) for p in parts] == [
        ("coming", 1, 0, 125), ("ready", 2, 125, 250), ("ending", 1, 375, 125),
    ]  # fmt: skip


def test_the_last_failure_has_its_reason_its_age_and_its_log(
    admin_client: Client, time: SteppedClock
) -> None:
    fleet, other = a_fleet(name="emb"), a_fleet(name="calm")
    for ago, why in (
        (hours(3), "no module named nope"),
        (hours(1), "handler <b>"),
        (hours(30), "x"),
    ):
        pod = a_pod(
            fleet, FAILED, requested_at=NOON - ago, failed_at=NOON - ago, state_since=NOON - ago,
            retire_rule=PodRule.AGENT_FAILED.value, retire_because=why,
        )  # fmt: skip
    a_tick(fleet)
    a_tick(other)
    failure = rows()[fleet.pk].failure
    assert failure is not None
    assert (failure.because, failure.age) == ("handler <b>", "1 h ago")
    assert rows()[other.pk].failure is None
    shown = page(admin_client)
    assert "handler &lt;b&gt;" in shown
    assert reverse("admin:pods_pod_logs", args=[failure.pod]) in shown
    assert failure.pod != pod.pk


def test_what_today_costs_until_midnight_stands_with_the_budget(
    admin_client: Client, time: SteppedClock
) -> None:
    fleet = a_fleet(daily_budget_usd="30")
    a_pod(fleet, READY, hourly_usd=Decimal(1))
    a_tick(fleet, spent_today_usd=Decimal(8))
    shown = page(admin_client)
    assert "<dt>today → midnight UTC, of $30.00</dt> <dd>$8.00 → $20.00" in shown


@pytest.mark.parametrize("fleets", [1, 12])
def test_the_facts_of_rows_take_two_queries_beside_those_of_the_cards(
    fleets: int, time: SteppedClock, django_assert_num_queries: Any
) -> None:
    for _ in range(fleets):
        fleet = a_fleet()
        a_tick(fleet)
        for n in range(3):
            Sample.objects.create(fleet=fleet, at=NOON - n * MINUTES, grain=1, depth=n, pods=1)
    Limits.get()  # the row is made by whoever asks first
    with django_assert_num_queries(9):  # seven of them for the cards
        renewal.first_page(Wanted()).rows(AnonymousUser())


def test_the_page_stays_as_it_is_while_only_time_passes(
    admin_client: Client, time: SteppedClock
) -> None:
    fleet = a_fleet()
    a_tick(fleet)
    for n in (9, 14, 19):
        Sample.objects.create(fleet=fleet, at=NOON - n * MINUTES, grain=1, depth=n, pods=1)
    a_pod(
        fleet, FAILED, requested_at=NOON - hours(2), failed_at=NOON - hours(2),
        retire_rule=PodRule.AGENT_FAILED.value,
    )  # fmt: skip
    url = reverse("dashboard-now")
    seen = admin_client.get(url).content.decode().rpartition('name="seen" value="')[2][:16]
    for _ in range(4):
        time.advance(5)
        assert admin_client.get(url, {"seen": seen}).status_code == 204
