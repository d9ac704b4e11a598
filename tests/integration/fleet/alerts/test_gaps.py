"""Alerts outlast a time in which nobody could look, with real ticks in a database."""

from datetime import datetime
from typing import Any

import pytest

from fleet.alerts import reconciling
from fleet.models import Alert, Balance, Fleet, Limits, Tick
from pods.emulators.base import SteppedClock
from pods.models import Pod
from pods.states import READY
from tests.support.factories import NOON, a_fleet, a_pod

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


@pytest.fixture
def fleet(time: SteppedClock) -> Any:
    return a_fleet(name="emb")


def a_tick(fleet: Fleet, at: datetime, **values: Any) -> None:
    """What a tick writes that sees items and gets no pod."""
    held = {"depth": 9, "active": 0, "desired": 1, "target": 0, "binding": "no_offers"}
    token = Tick.objects.filter(fleet=fleet).count() + 1
    Tick.objects.create(fleet=fleet, at=at, token=token, **{**held, **values})


def looked(time: SteppedClock, fleet: Fleet, *, seconds: int, **values: Any) -> None:
    """A tick and a look at the alerts each 15 s."""
    for _ in range(0, seconds, 15):
        time.advance(15)
        a_tick(fleet, time.now, **values)
        reconciling.reconcile_alerts()


def no_pods() -> list[tuple[int, bool]]:
    rows = Alert.objects.filter(cause="no_pods").order_by("pk")
    return [(a.pk, a.resolved_at is None) for a in rows]


def test_a_gap_of_the_ticks_ends_no_alert(fleet: Fleet, time: SteppedClock) -> None:
    looked(time, fleet, seconds=12 * 60)
    [(alert, is_open)] = no_pods()
    assert is_open
    for _ in range(4 * 30):  # half an hour without a tick
        time.advance(15)
        reconciling.reconcile_alerts()
    looked(time, fleet, seconds=20 * 60)
    assert no_pods() == [(alert, True)]
    looked(time, fleet, seconds=60, depth=None, binding="")
    assert no_pods() == [(alert, True)]
    looked(time, fleet, seconds=15, ready=1, active=1, binding="")
    assert no_pods() == [(alert, False)]


def test_a_gap_begins_no_alert(fleet: Fleet, time: SteppedClock) -> None:
    a_tick(fleet, NOON)
    time.advance(3600)
    looked(time, fleet, seconds=9 * 60)
    assert no_pods() == []
    looked(time, fleet, seconds=60)
    assert [is_open for _, is_open in no_pods()] == [True]


def test_a_fleet_with_rare_ticks_has_the_alert_after_two_of_them(
    fleet: Fleet, time: SteppedClock
) -> None:
    interval = fleet.schedule.interval  # type: ignore[union-attr]
    interval.every = 20 * 60
    interval.save()
    a_tick(fleet, time.now)
    for _ in range(3):
        time.advance(600)
        reconciling.reconcile_alerts()
    assert no_pods() == []
    a_tick(fleet, time.now)
    reconciling.reconcile_alerts()
    assert [is_open for _, is_open in no_pods()] == [True]
    time.advance(19 * 60)
    reconciling.reconcile_alerts()
    assert [is_open for _, is_open in no_pods()] == [True]


def test_a_low_balance_that_can_be_read_no_more_keeps_its_alert(
    fleet: Fleet, time: SteppedClock
) -> None:
    account = fleet.accounts.get()
    a_pod(fleet, READY, account=account)

    def low() -> bool:
        reconciling.reconcile_alerts()
        return Alert.objects.open().filter(cause="balance_low").exists()

    values = {"account": account, "booked_micros": 0}
    Balance.objects.create(at=NOON, usd=1000, **values)
    assert not low()
    Balance.objects.create(at=NOON, usd=1, **values)
    Balance.objects.filter(usd=1).update(at=NOON.replace(second=1))
    assert low()
    time.advance(5 * 3600)
    assert low()
    Balance.objects.create(at=time.now, usd=1000, **values)
    assert not low()


@pytest.mark.parametrize("held", ["fleet", "installation"])
def test_a_paused_fleet_without_pods_has_no_alert_about_an_unknown_backlog(
    fleet: Fleet, time: SteppedClock, held: str
) -> None:
    def alerted() -> bool:
        looked(time, fleet, seconds=12 * 60, depth=None, binding="")
        return Alert.objects.open().filter(cause="backlog_unknown").exists()

    limits = Limits.get()
    if held == "fleet":
        Fleet.objects.filter(pk=fleet.pk).update(mode="paused")
    else:
        limits.mode = "paused"
        limits.save()
    assert not alerted()
    pod = a_pod(fleet, READY)
    assert alerted()
    Pod.objects.filter(pk=pod.pk).update(state="terminated")
    assert not alerted()
    Fleet.objects.filter(pk=fleet.pk).update(mode="running")
    limits.mode = "running"
    limits.save()
    assert alerted()
