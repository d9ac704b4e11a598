"""Which rows the alerts are judged by, and which rows they change."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from fleet.alerts import answering, reconciling
from fleet.decision.alert_facts import AlertFacts
from fleet.decision.alerts import Cause
from fleet.decision.windows import WINDOW
from fleet.models import Alert, Balance, Channel, Delivery, Fleet, Limits, Tick
from pods import dispatch
from pods.emulators.base import SteppedClock
from pods.models import Orphan, Pod
from pods.states import FAILED, READY, TERMINATED, TERMINATING
from tests.support.factories import NOON, a_fleet, a_pod, an_account, an_alert, hours, seconds

pytestmark = pytest.mark.django_db
WITHIN, EARLIER = NOON - WINDOW + seconds(1), NOON - WINDOW


@pytest.fixture(autouse=True)
def at_noon(time: SteppedClock) -> None:
    pass


def a_tick(fleet: Fleet, at: datetime, **values: Any) -> None:
    facts = {"depth": 9, "active": 0, "ready": 0, "desired": 0, "target": 0, "binding": ""}
    token = Tick.objects.filter(fleet=fleet).count() + 1
    Tick.objects.create(fleet=fleet, at=at, token=token, **{**facts, **values})


def facts() -> AlertFacts:
    return reconciling.gather(NOON)


def test_a_fleet_is_judged_by_its_own_ticks_of_the_window_and_the_one_before() -> None:
    fleet, other = a_fleet(), a_fleet()
    archived = a_fleet(name="archived", archived_at=NOON)
    for at in (EARLIER, WITHIN):
        a_tick(archived, at)
    a_tick(other, EARLIER - seconds(3))
    Fleet.objects.update(created_at=NOON - hours(9))
    for at in (EARLIER - seconds(9), EARLIER, WITHIN):
        a_tick(fleet, at, failing=1, trouble="old")
    seen = {"failing": {"count": 2, "because": "no module x"}}
    a_tick(fleet, NOON, failing=2, trouble="x", snapshot=seen, all_fail=True, all_fail_because="y")
    a_tick(other, NOON, failing=7, trouble="of the other")
    seen = {each.fleet_id: each for each in facts().fleets if each.name != "archived"}
    assert "archived" not in {each.name for each in facts().fleets}
    mine = seen[fleet.pk]
    assert [tick.at for tick in mine.ticks] == [EARLIER, WITHIN, NOON]
    assert [tick.at for tick in seen[other.pk].ticks] == [EARLIER - seconds(3), NOON]
    assert (mine.failing, mine.trouble, mine.last_tick_at) == (2, "x", NOON)
    assert mine.undecided_for == seconds(0)
    assert mine.failing_because == "no module x"
    assert (mine.all_fail, mine.all_fail_because) == (True, "y")
    new = a_fleet()
    last = {each.fleet_id: each for each in facts().fleets}[new.pk]
    assert (last.failing, last.trouble, last.all_fail, last.ticks) == (0, "", None, ())
    assert (last.last_tick_at, last.all_fail_because) == (None, "")


def test_why_pods_failed_is_what_the_newest_tick_saw() -> None:
    fleet, other = a_fleet(), a_fleet()
    for at, because in ((NOON, "new"), (WITHIN, "old")):
        a_tick(fleet, at, failing=1, snapshot={"failing": {"because": because}})
    a_tick(other, NOON, failing=1)  # of an older version
    seen = {each.fleet_id: each.failing_because for each in facts().fleets}
    assert seen == {fleet.pk: "new", other.pk: ""}


@pytest.mark.parametrize(
    ("fleet_mode", "limits_mode", "held"),
    [("running", "running", False), ("paused", "running", True), ("running", "stop_all", True)],
)
def test_a_fleet_that_an_operator_holds(fleet_mode: str, limits_mode: str, held: bool) -> None:
    a_fleet(mode=fleet_mode)
    Limits.made()
    Limits.objects.update(mode=limits_mode, mode_by="ann")
    assert [each.held for each in facts().fleets] == [held]
    stop = facts().stop
    assert (stop is None) is (limits_mode == "running")


def test_the_machines_of_a_fleet_are_those_it_has_or_got_within_the_window() -> None:
    fleet, other = a_fleet(), a_fleet()
    a_pod(fleet, READY, booted_at=NOON - hours(9))
    a_pod(fleet, READY, external_id=None)
    a_pod(fleet, TERMINATED, booted_at=WITHIN)
    a_pod(fleet, TERMINATED, booted_at=EARLIER)
    a_pod(other, READY, booted_at=NOON)
    machines = {each.fleet_id: each.machines for each in facts().fleets}
    assert machines == {fleet.pk: 2, other.pk: 1}


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ({}, True),
        ({"state": TERMINATED.value}, False),
        ({"retire_rule": "operator"}, False),
        ({"external_id": "m1"}, False),
        ({"state_since": EARLIER}, False),
    ],
)
def test_why_a_fleet_got_no_machine(change: dict[str, Any], refused: bool) -> None:
    account = an_account(name="acme")
    fleet = a_fleet(accounts=[account])
    pod = a_pod(fleet, FAILED)
    row = {"because": "sold out", "retire_rule": "no_capacity", "state_since": WITHIN, **change}
    Pod.objects.filter(pk=pod.pk).update(**row)
    assert [each.refusals for each in facts().fleets] == ([["acme: sold out"]] if refused else [()])


def test_accounts_orphans_and_pods_that_count() -> None:
    account, other = an_account(), an_account()
    an_account(enabled=False)
    fleet = a_fleet(accounts=[account])
    ending = a_pod(fleet, TERMINATING, attempts=3, note="n")
    ready = a_pod(fleet, READY)
    a_pod(fleet, TERMINATED)
    for at, usd in ((NOON - hours(3), 1), (NOON - hours(2) + seconds(1), 2)):
        Balance.objects.create(account=account, at=at, usd=usd, booked_micros=0)
    Balance.objects.create(account=other, at=NOON - hours(2), usd=9, booked_micros=0)
    times = {"first_seen_at": NOON, "last_seen_at": NOON}
    Orphan.objects.create(account=account, external_id="o1", **times)
    Orphan.objects.create(account=account, external_id="o2", gone_at=NOON, **times)
    found = facts()
    accounts = {
        a.account_id: (a.balance_usd, a.balance_fresh, a.hourly_usd) for a in found.accounts
    }
    assert accounts == {account.pk: (2, True, 1), other.pk: (9, False, 0)}
    assert len(found.orphans) == 1
    pods = {p.pod_id: p.terminating_for for p in found.pods}
    assert pods == {ending.pk: timedelta(0), ready.pk: None}


def test_an_open_alert_belongs_to_its_subject_and_one_of_a_later_version_is_left_out() -> None:
    fleet = a_fleet()
    subject = f"fleet:{fleet.pk}"
    an_alert(fleet, cause="no_pods", subject=subject)
    an_alert(fleet, cause="late_tick", subject=subject, resolved_at=NOON)
    Alert.objects.bulk_create(
        [Alert(cause="of the future", subject=subject, severity="warning", fleet=fleet,
               first_seen_at=NOON, last_seen_at=NOON)]
    )  # fmt: skip
    [seen] = facts().fleets
    assert seen.open.keys() == {Cause.NO_PODS}


def test_only_open_alerts_are_ended_and_only_those_without_a_cause() -> None:
    fleet = a_fleet()
    ended = an_alert(fleet, cause="no_pods", subject="fleet:0", resolved_at=NOON - hours(1))
    gone = an_alert(fleet, cause="late_tick", subject="fleet:0")
    lasts = an_alert(fleet, cause="no_pods", subject="fleet:1")
    assert reconciling._resolve([ended.pk, gone.pk], NOON) == 1
    assert list(Alert.objects.open()) == [lasts]
    ended.refresh_from_db()
    assert ended.resolved_at == NOON - hours(1)


@pytest.mark.parametrize(
    ("alert", "channel", "announced"),
    [
        ({}, {}, True),
        ({"told": True}, {}, False),
        ({"told": True, "snoozed_until": NOON}, {}, True),
        ({"snoozed_until": NOON + seconds(1)}, {}, False),
        ({"acknowledged_at": NOON}, {}, False),
        ({"resolved_at": NOON}, {}, False),
        ({}, {"enabled": False}, False),
        ({}, {"min_severity": "critical"}, False),
        ({"severity": "critical"}, {"min_severity": "critical"}, True),
    ],
)
def test_which_alerts_are_announced_where(
    alert: dict[str, Any], channel: dict[str, Any], announced: bool
) -> None:
    an_alert(a_fleet(), **alert)
    Channel.objects.create(name="ops", sealed_url="", **channel)
    assert reconciling._announce(NOON) == announced
    assert Delivery.objects.count() == announced


@pytest.mark.parametrize(
    ("state", "due", "sent"),
    [
        ("pending", NOON, True),
        ("sending", NOON, True),
        ("sent", NOON, False),
        ("pending", NOON + seconds(1), False),
    ],
)
def test_a_task_is_sent_for_each_channel_with_deliveries_that_are_due(
    state: str, due: datetime, sent: bool
) -> None:
    channel = Channel.objects.create(name="ops", sealed_url="")
    Delivery.objects.create(
        alert=an_alert(a_fleet()), channel=channel, announcement=1, due_at=due, state=state
    )
    outbox = dispatch.Outbox()
    with outbox:
        reconciling.send_due(NOON)
    assert [args for _, args, _ in outbox._waiting] == ([(channel.pk,)] if sent else [])


def test_an_operator_silences_open_alerts_once() -> None:
    fleet = a_fleet()
    mine, _ = an_alert(fleet, subject="pod:1"), an_alert(fleet, subject="pod:2")
    ended = an_alert(fleet, subject="pod:3", resolved_at=NOON)
    for count in (1, 0):
        assert answering.acknowledge([mine, ended], by="ann") == count
    assert answering.snooze([mine, ended], until=NOON + hours(1), by="ann") == 1
    rows = {a.subject: (a.acknowledged_by, a.snoozed_by) for a in Alert.objects.all()}
    assert rows == {"pod:1": ("ann", "ann"), "pod:2": ("", ""), "pod:3": ("", "")}
