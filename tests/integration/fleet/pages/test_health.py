"""A fleet's health out of its rows: the first page, `fleet list` and `fleet show` agree on it."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from fleet import operating
from fleet.alerts import answering
from fleet.decision.fleet_health import Health
from fleet.models import Alert, Dataset, Fleet, Limits, Tick
from fleet.pages import overview, status
from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.models import Pod, PriceSegment
from pods.states import BOOTING, READY, TERMINATING
from tests.support.factories import a_fleet, a_pod, an_alert, hours
from tests.support.fleet_command import run

pytestmark = pytest.mark.django_db


def a_tick(fleet: Fleet, **values: Any) -> None:
    facts = {"depth": 0, "active": 0, "desired": 0, "target": 0, "sentence": "keeps 0 pods"}
    Tick.objects.create(fleet=fleet, token=1, **{"at": clock.utcnow(), **facts, **values})


def shown() -> dict[str, Health]:
    return {card.name: card.health.health for card in overview.overview().cards}


def a_pod_that_stays(fleet: Fleet, **values: Any) -> None:
    pod = a_pod(fleet, TERMINATING)
    Pod.objects.filter(pk=pod.pk).update(
        **{"attempts": 5, "state_since": clock.utcnow() - timedelta(minutes=5), **values}
    )


def test_each_fact_of_the_rows_comes_to_the_page(time: SteppedClock) -> None:
    for name in ("stuck", "trying", "slow-to-end", "failing", "unknown", "held", "booting", "busy"):
        a_fleet(name=name)
    fleets = {fleet.name: fleet for fleet in Fleet.objects.all()}
    a_pod_that_stays(fleets["stuck"])
    a_pod_that_stays(fleets["trying"], attempts=4)
    a_pod_that_stays(fleets["slow-to-end"], state_since=clock.utcnow())
    a_pod(fleets["booting"], BOOTING)
    a_pod(fleets["busy"], READY)
    ticks: dict[str, dict[str, Any]] = {
        "failing": {"depth": 9, "failing": 3, "trouble": "No module named 'nope'"},
        "unknown": {"depth": None, "held_back": "no answer"},
        "held": {"depth": 9, "binding": "no_offers", "held_back": "nothing can be rented"},
        "booting": {"depth": 9}, "busy": {"depth": 9},
    }  # fmt: skip
    for name, fleet in fleets.items():
        a_tick(fleet, **ticks.get(name, {}))
    assert shown() == {
        "stuck": Health.CANNOT_END, "failing": Health.FAILING, "unknown": Health.UNKNOWN,
        "held": Health.HELD, "booting": Health.STARTING, "busy": Health.WORKING,
        "slow-to-end": Health.IDLE, "trying": Health.IDLE,
    }  # fmt: skip
    time.advance(46)
    assert shown()["busy"] is Health.UNATTENDED


def test_a_fleet_whose_alert_is_acknowledged_is_not_better(time: SteppedClock) -> None:
    fleet = a_fleet(name="emb")
    a_pod(fleet, READY)
    a_tick(fleet, depth=9)
    text = "emb: items wait, and 1 ready pod finished none for 10 min"
    an_alert(fleet, cause="not_drained", subject=f"fleet:{fleet.pk}", text=text)
    answering.acknowledge(Alert.objects.all(), by="ann")
    (card,) = overview.overview().cards
    assert card.health.health is Health.FAILING
    assert card.health.because == "items wait, and 1 ready pod finished none for 10 min"
    Alert.objects.update(resolved_at=clock.utcnow())
    assert shown() == {"emb": Health.WORKING}


@pytest.mark.parametrize("budget", ["daily_budget_usd", "total_budget_usd"])
def test_a_budget_that_ends_before_the_work_is_foreseen(budget: str, time: SteppedClock) -> None:
    fleet = a_fleet(name="emb", **{budget: Decimal(4)})
    pod = a_pod(fleet, READY, hourly_usd=Decimal(1), rate=1.0)
    PriceSegment.objects.filter(pod=pod).delete()
    PriceSegment.objects.create(
        pod=pod, fleet=fleet, hourly_usd=Decimal(1), since=clock.utcnow() - hours(1)
    )
    a_tick(fleet, depth=3 * 3600, spent_today_usd=Decimal(1))
    assert shown() == {"emb": Health.WORKING}  # $3 are left for three hours of $1
    Tick.objects.update(depth=3 * 3600 + 60)
    assert shown() == {"emb": Health.MONEY_OUT}


def test_the_mode_of_the_installation_counts_and_an_odd_rule_of_a_later_version_does_not(
    time: SteppedClock,
) -> None:
    a_tick(a_fleet(name="emb"), depth=9, binding="moon_phase", held_back="the moon is full")
    assert shown() == {"emb": Health.STARTING}
    Limits.made()
    Limits.objects.update(mode="stop_all")
    assert shown() == {"emb": Health.STOPPED}


def test_the_card_has_the_health_with_its_reason_and_the_mode_only_if_it_does_not_run(
    admin_client: Client, time: SteppedClock
) -> None:
    fleet = a_fleet(name="emb", mode="paused")
    a_tick(fleet, depth=None, held_back="<b>no answer</b>")
    page = admin_client.get(reverse("dashboard-now")).content.decode()
    for text in ("Unknown", "&lt;b&gt;no answer", "Paused"):
        assert text in page
    Fleet.objects.update(mode="running")
    page = admin_client.get(reverse("dashboard-now")).content.decode()
    assert "Running" not in page


def test_the_list_begins_with_what_needs_an_operator(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a-idle", "b-unknown", "c-failing"):
        fleet = a_fleet(name=name, stream=name)
        if name != "b-unknown":
            operating.make_group(fleet)
        a_tick(fleet)
    for _ in range(3):
        a_pod_that_stays(Fleet.objects.get(name="c-failing"))
    rows = json.loads(run("list", "--json"))
    assert [(row["name"], row["health"]) for row in rows] == [
        ("c-failing", "cannot_end"), ("b-unknown", "unknown"), ("a-idle", "idle"),
    ]  # fmt: skip
    assert rows[0]["health_because"].startswith("3 pods are not gone")
    run("list")
    lines = capsys.readouterr().out.splitlines()
    begins = [line.split(maxsplit=1)[0] for line in lines if line[:1] == " " and line.strip()]
    names = [word for word in begins if word in {row["name"] for row in rows}]
    assert names == ["c-failing", "b-unknown", "a-idle"]
    run("show", "b-unknown")
    assert "? Unknown: " in capsys.readouterr().out


def test_what_fails_now_counts_before_the_next_tick_says_so(
    redis_url: str,
) -> None:
    fleet = a_fleet(name="emb")
    a_tick(fleet)  # it saw an empty backlog that could be read
    assert status.status_of(fleet).health.health is Health.UNKNOWN  # the group was never made


def test_an_idle_fleet_says_how_many_of_its_items_failed(time: SteppedClock) -> None:
    queue, rows = a_fleet(name="queue", dead_letters=3), a_fleet(name="rows")
    Dataset.objects.create(
        fleet=rows, sink="file:///out", part_format="parquet", fed_at=clock.utcnow(),
        rows_planned=100, rows_done=93, rows_failed=2, rows_dead=5,
    )  # fmt: skip
    for fleet in (queue, rows):
        a_tick(fleet)
    said = {"queue": "nothing waits; 3 items failed", "rows": "nothing waits; about 7 rows failed"}
    cards = overview.overview().cards
    assert {card.name: card.health.because for card in cards} == said
