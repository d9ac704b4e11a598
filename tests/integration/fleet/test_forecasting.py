"""Forecasts of fleets: made in the background, kept, and shown wherever a fleet is."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse

from fleet import forecasting
from fleet.alerts import reconciling
from fleet.models import Alert, Fleet, FleetForecast, Limits, Tick
from fleet.pages import forecasts, metrics
from pods.base.clock import utcnow
from pods.states import READY
from tests.support.admin_pages import a_user
from tests.support.api import a_client
from tests.support.factories import a_fleet, a_pod, an_account, hours
from tests.support.fleet_command import run
from tests.support.goals_of_rows import a_market, fill, of_deadline, with_speed
from tests.support.spells import read_for, stood

pytestmark = pytest.mark.django_db


def ticked(fleet: Fleet, depth: int | None) -> Fleet:
    Tick.objects.create(
        fleet=fleet, at=utcnow(), token=1, depth=depth, active=0, desired=0, target=0
    )
    return fleet


def a_forecast(fleet: Fleet, **values: Any) -> FleetForecast:
    now = utcnow()
    known: dict[str, Any] = {
        "at": now, "depth": 60_000, "likely_at": now + hours(3), "sure_at": now + hours(5),
        "likely_usd": Decimal("41.2"), "sure_usd": Decimal("52.75"), "days": 5.0, "replays": 40,
    }  # fmt: skip
    return FleetForecast.objects.create(fleet=fleet, **{**known, **values})


def test_a_busy_fleet_gets_a_forecast_and_others_get_none(redis_url: str) -> None:
    account = a_market()
    busy = of_deadline(12, accounts=[account], name="busy")
    with_speed(busy, 0.01, interruptible=True, hourly_usd=Decimal("0.92"), booted_at=utcnow())
    fill(busy, redis_url, 1000)  # 28 pod-hours
    ticked(busy, 1000)
    ticked(a_fleet(name="idle", stream="idle"), 0)
    ticked(a_fleet(name="blind", stream="blind"), None)
    ticked(a_fleet(name="paused", stream="paused", mode="paused"), 10)
    now = utcnow()
    read_for(account, now, 72)
    for n in range(9):
        since = 72 - 8 * n
        stood(account, now, since, since - 6, gpu_type="L4", interruptible=True)
    assert forecasting.forecast_fleets() == 1
    row = FleetForecast.objects.get()
    assert (row.fleet, row.because, row.replays, row.depth) == (busy, "", 40, 1000)
    assert row.days == pytest.approx(3, abs=0.01)
    assert row.on_time == 1
    assert row.likely_at is not None
    assert now + hours(3) < row.likely_at < now + hours(12)
    assert 25 < row.likely_usd < row.sure_usd < 28 * Decimal("3.06") + 10
    assert forecasting.forecast_fleets() == 0  # it is not due again
    Limits.objects.update_or_create(pk=1, defaults={"mode": "paused"})
    assert forecasting.forecast_fleets() == 0
    assert not FleetForecast.objects.exists()


def test_a_fleet_without_a_speed_has_a_reason_in_place_of_a_forecast(redis_url: str) -> None:
    fleet = of_deadline(12, accounts=[a_market()])
    fill(fleet, redis_url, 10)
    ticked(fleet, 10)
    assert forecasting.forecast_fleets() == 1
    row = FleetForecast.objects.get()
    assert (row.because, row.lacks_speed) == ("no pod has shown its speed yet", True)
    assert forecasts.told(row) is None
    page = a_user("viewer").get(reverse("admin:fleet_fleet_status", args=[fleet.pk]))
    assert "No forecast: no pod has shown its speed yet." in page.content.decode()


def test_a_forecast_without_a_result_or_for_another_deadline_is_made_again_soon(
    redis_url: str,
) -> None:
    names = ("none", "moved", "made", "never", "now")
    fleets = {
        name: ticked(of_deadline(accounts=[an_account()], name=name, stream=name), 10)
        for name in names
    }
    a_minute_ago = utcnow() - timedelta(minutes=1)
    for name, values in (
        ("none", {"replays": 0}), ("moved", {}), ("made", {}),
        ("never", {}), ("now", {"at": utcnow(), "replays": 0}),
    ):  # fmt: skip
        by = fleets[name].drain_by
        a_forecast(fleets[name], **{"at": a_minute_ago, "drain_by": by, **values})
    Fleet.objects.filter(name="moved").update(drain_by=utcnow() + hours(99))
    Fleet.objects.filter(name="never").update(drain_by=None, goal="demand")
    FleetForecast.objects.filter(fleet=fleets["made"]).update(drain_by=fleets["made"].drain_by)
    began = utcnow()
    assert forecasting.forecast_fleets() == 3
    made = FleetForecast.objects.filter(at__gte=began).values_list("fleet__name", flat=True)
    assert set(made) == {"none", "moved", "never"}


def test_a_demand_fleet_has_one_too(redis_url: str) -> None:
    fleet = a_fleet(
        accounts=[a_market()], image="agent:1", max_instances=4, target_depth_per_pod=10
    )
    with_speed(fleet, 0.1)
    fill(fleet, redis_url, 720)  # 2 pod-hours
    ticked(fleet, 720)
    forecasting.forecast_fleets()
    row = FleetForecast.objects.get()
    assert (row.because, row.on_time, row.days) == ("", None, 0)
    assert row.likely_at is not None
    assert utcnow() + hours(0.5) < row.likely_at < utcnow() + hours(1.5)
    assert "A rough guess" in getattr(forecasts.told(row), "text", "")


def test_a_forecast_is_shown_on_pages_in_the_terminal_and_in_the_api(
    redis_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    by = utcnow() + hours(6)
    fleet = ticked(of_deadline(accounts=[an_account()], name="emb"), 60_000)
    Fleet.objects.filter(pk=fleet.pk).update(drain_by=by)
    fill(fleet, redis_url, 1)
    a_forecast(fleet, on_time=0.975, drain_by=by)
    said = "About $41.20 from now on, nine times out of ten at most $52.75."
    viewer = a_user("viewer")
    for address in (reverse("admin:index"), reverse("admin:fleet_fleet_status", args=[fleet.pk])):
        page = " ".join(viewer.get(address).content.decode().split())
        assert said in page
        assert "98 % to be done by" in page
    run("show", "emb")
    assert said in " ".join(capsys.readouterr().out.split())
    assert json.loads(run("show", "emb", "--json"))["forecast"]["sure_usd"] == "52.750000"
    families = {family.name: family.samples for family in metrics.collect()}
    costs = families["podfleet_forecast_usd"]
    assert [(s.labels["case"], s.value) for s in costs] == [("likely", 41.2), ("sure", 52.75)]
    assert families["podfleet_forecast_on_time_ratio"][0].value == 0.975
    assert a_client("viewer").get("/fleets/emb").json()["status"]["forecast"]["on_time"] == 0.975


def test_an_old_forecast_is_not_shown(redis_url: str) -> None:
    fleet = ticked(of_deadline(accounts=[an_account()], name="emb"), 60_000)
    fill(fleet, redis_url, 1)
    a_forecast(fleet, at=utcnow() - timedelta(minutes=21))
    assert json.loads(run("show", "emb", "--json"))["forecast"] is None
    assert "Forecast" not in a_user("viewer").get(reverse("admin:index")).content.decode()


def test_a_forecast_that_misses_too_often_is_an_alert(redis_url: str) -> None:
    fleet = of_deadline(accounts=[an_account()], name="emb")
    a_pod(fleet, READY)
    row = a_forecast(fleet, on_time=0.6, drain_by=fleet.drain_by, money_ends=0.7, left=9000)
    reconciling.reconcile_alerts()
    texts = dict(Alert.objects.open().values_list("cause", "text"))
    assert "in 60 % of the cases. Raise Max pods, or set" in texts["goal_at_risk"]
    assert "in 70 % of the cases; about 9,000 of 60,000 items are left" in texts["budget_short"]
    row.on_time, row.money_ends = 0.85, 0.3  # better, and not well yet
    row.save()
    reconciling.reconcile_alerts()
    assert {"goal_at_risk", "budget_short"} <= set(
        Alert.objects.open().values_list("cause", flat=True)
    )
    Fleet.objects.filter(pk=fleet.pk).update(drain_by=utcnow() + hours(99))
    row.money_ends = 0.2
    row.save()
    reconciling.reconcile_alerts()  # it was made for another deadline
    assert not {"goal_at_risk", "budget_short"} & set(
        Alert.objects.open().values_list("cause", flat=True)
    )


def test_those_that_waited_longest_come_first_whatever_is_wrong_with_them(redis_url: str) -> None:
    names = ("late", "new", "broken")
    fleets = {
        name: ticked(of_deadline(accounts=[an_account()], name=name, stream=name), 10)
        for name in names
    }
    for name, minutes in (("late", 7), ("broken", 9)):
        at = utcnow() - timedelta(minutes=minutes)
        a_forecast(fleets[name], at=at, drain_by=fleets[name].drain_by)
    Fleet.objects.filter(name="broken").update(offer_query={"gpus": "L4"})
    made: list[str] = []
    for _ in names:
        began = utcnow()
        assert forecasting.forecast_fleets(longest=timedelta(0)) == 1
        made += FleetForecast.objects.filter(at__gte=began).values_list("fleet__name", flat=True)
    assert made == ["new", "broken", "late"]
    assert forecasting.forecast_fleets() == 0
    assert FleetForecast.objects.get(fleet=fleets["broken"]).because.startswith("gpus unknown")
