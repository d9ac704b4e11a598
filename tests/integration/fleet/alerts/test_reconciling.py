"""Alerts are opened, told, silenced and ended by real rows and a stepped clock."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
from celery import current_app
from django.contrib.auth.models import Group
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django_celery_beat.models import PeriodicTask

from fleet.alerts import reconciling
from fleet.models import Alert, Channel, Delivery, Fleet
from pods import lifecycle
from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.models import Account, Orphan, Pod
from pods.states import LOST, READY
from tests.support.factories import NOON, a_fleet, a_pod, an_account, hours

pytestmark = pytest.mark.django_db
HOUR = 3600


@pytest.fixture
def time() -> Iterator[SteppedClock]:
    stepped = SteppedClock(NOON)
    with clock.use(stepped):
        yield stepped


@pytest.fixture
def fleet(time: SteppedClock) -> Any:
    made = a_fleet(name="emb", max_instances=5)
    PeriodicTask.objects.filter(pk=made.schedule_id).update(enabled=False)  # nothing ticks here
    Fleet.objects.filter(pk=made.pk).update(created_at=NOON)
    return Fleet.objects.get(pk=made.pk)


@pytest.fixture
def channel() -> Any:
    return Channel.objects.create(name="ops", sealed_url="")


def open_causes() -> list[tuple[str, str]]:
    return sorted(Alert.objects.open().values_list("cause", "subject"))


def told() -> int:
    return Delivery.objects.count()


def test_the_24_hour_alert_is_one_then_one_a_day_then_silent_then_over(
    fleet: Fleet, channel: Channel, time: SteppedClock
) -> None:
    pod = a_pod(fleet, READY)
    time.advance(24 * HOUR - 15)
    reconciling.reconcile_alerts()
    assert open_causes() == []
    for _ in range(4 * 60 + 1):  # an hour, 15 s at a time
        time.advance(15)
        reconciling.reconcile_alerts()
    alert = Alert.objects.get()
    assert (alert.cause, alert.subject, told()) == ("pod_old", f"pod:{pod.pk}", 1)
    assert alert.first_seen_at == NOON + hours(24)
    assert alert.last_seen_at == time.now
    time.advance(23 * HOUR)
    reconciling.reconcile_alerts()
    reconciling.reconcile_alerts()
    assert (Alert.objects.count(), told()) == (1, 2)  # again after a further 24 h, same alert
    assert reconciling.acknowledge([alert], by="ann") == 1
    time.advance(72 * HOUR)
    reconciling.reconcile_alerts()
    assert (Alert.objects.count(), told()) == (1, 2)
    assert open_causes() == [("pod_old", f"pod:{pod.pk}")]
    lifecycle.move(Pod.objects.get(pk=pod.pk), LOST, by="test", because="gone")
    reconciling.reconcile_alerts()
    alert.refresh_from_db()
    assert (open_causes(), alert.resolved_at, alert.acknowledged_by) == ([], time.now, "ann")


def test_a_snoozed_alert_is_told_again_when_that_ends_and_it_still_lasts(
    fleet: Fleet, channel: Channel, time: SteppedClock
) -> None:
    a_pod(fleet, READY)
    time.advance(24 * HOUR)
    reconciling.reconcile_alerts()
    reconciling.snooze(Alert.objects.all(), until=time.now + hours(30), by="ann")
    time.advance(29 * HOUR)
    reconciling.reconcile_alerts()
    assert told() == 1
    time.advance(2 * HOUR)
    reconciling.reconcile_alerts()
    assert told() == 2


def test_a_moment_that_is_over_is_no_snooze(fleet: Fleet, time: SteppedClock) -> None:
    with pytest.raises(ValueError, match="name a moment to come"):
        reconciling.snooze([], until=time.now, by="ann")


def test_a_cause_that_comes_back_is_a_new_alert(fleet: Fleet, time: SteppedClock) -> None:
    account = fleet.accounts.get()
    for _ in range(2):
        Account.objects.filter(pk=account.pk).update(
            failures=3, open_until=time.now + hours(1), last_error="Unavailable: timeout"
        )
        reconciling.reconcile_alerts()
        assert open_causes() == [("circuit_open", f"account:{account.pk}")]
        Account.objects.filter(pk=account.pk).update(failures=0, open_until=None)
        reconciling.reconcile_alerts()
        assert open_causes() == []
    assert Alert.objects.count() == 2


def test_refused_credentials_an_orphan_and_a_late_tick_are_alerts(
    fleet: Fleet, time: SteppedClock
) -> None:
    account = fleet.accounts.get()
    Account.objects.filter(pk=account.pk).update(
        failures=1, last_error="AuthFailed: 401", last_error_kind="auth_failed"
    )
    orphan = Orphan.objects.create(
        account=account, external_id="m", name="m", first_seen_at=NOON, last_seen_at=NOON
    )
    PeriodicTask.objects.filter(pk=fleet.schedule_id).update(enabled=True)
    time.advance(46)
    reconciling.reconcile_alerts()
    assert open_causes() == [
        ("credentials", f"account:{account.pk}"),
        ("no_tick", f"fleet:{fleet.pk}"),
        ("orphan", f"orphan:{orphan.pk}"),
    ]


def test_a_budget_has_one_open_alert_and_it_is_of_the_highest_step(
    fleet: Fleet, time: SteppedClock
) -> None:
    Fleet.objects.filter(pk=fleet.pk).update(daily_budget_usd=Decimal(4))
    a_pod(fleet, READY, hourly_usd=Decimal(1))
    seen = []
    for _ in range(5):
        reconciling.reconcile_alerts()
        seen.append([cause for cause, _ in open_causes()])
        time.advance(HOUR)
    assert seen == [[], [], ["budget_50"], ["budget_50"], ["budget_100"]]


def test_pods_that_never_boot_are_an_alert_until_one_does(fleet: Fleet, time: SteppedClock) -> None:
    for _ in range(3):
        time.advance(60)
        a_pod(fleet, LOST, retire_rule="never_booted")
    reconciling.reconcile_alerts()
    assert open_causes() == [("boots_fail", f"fleet:{fleet.pk}")]
    time.advance(60)
    a_pod(fleet, READY, ready_at=time.now)
    reconciling.reconcile_alerts()
    assert open_causes() == []


def test_only_what_a_channel_wants_to_hear_is_delivered_to_it(
    fleet: Fleet, channel: Channel, time: SteppedClock
) -> None:
    Channel.objects.create(name="pager", sealed_url="", min_severity="critical")
    Channel.objects.create(name="off", sealed_url="", min_severity="info", enabled=False)
    a_pod(fleet, READY)
    time.advance(24 * HOUR)
    reconciling.reconcile_alerts()
    assert [d.channel.name for d in Delivery.objects.all()] == ["ops"]


@pytest.mark.parametrize("size", [1, 30])
def test_the_queries_do_not_grow_with_fleets_pods_and_accounts(
    fleet: Fleet, channel: Channel, time: SteppedClock, size: int
) -> None:
    for n in range(size):
        a_pod(a_fleet(name=f"f{n}", accounts=[an_account()]), READY)
    Fleet.objects.update(created_at=NOON)
    time.advance(25 * HOUR)
    with CaptureQueriesContext(connection) as queries:
        done = reconciling.reconcile_alerts()
    assert done.opened == 2 * size
    assert len(queries) <= 32, [q["sql"][:90] for q in queries]
    with CaptureQueriesContext(connection) as queries:
        reconciling.reconcile_alerts()
    assert len(queries) <= 24, [q["sql"][:90] for q in queries]


def test_the_database_holds_one_open_alert_for_a_cause(fleet: Fleet, time: SteppedClock) -> None:
    values = {
        "cause": "no_tick",
        "subject": "fleet:1",
        "severity": "critical",
        "text": "x",
        "first_seen_at": NOON,
        "last_seen_at": NOON,
    }
    Alert.objects.create(**values, resolved_at=NOON)
    Alert.objects.create(**values)
    with pytest.raises(IntegrityError), transaction.atomic():
        Alert.objects.create(**values)


def test_the_schedule_and_the_roles_are_made_by_migrations() -> None:
    expires = dict(PeriodicTask.objects.values_list("task", "expire_seconds"))
    assert expires["fleet.alert"] == 15
    assert {"fleet.prune", "fleet.read_balances"} <= expires.keys()
    allowed = {
        group.name: set(group.permissions.values_list("codename", flat=True))
        for group in Group.objects.all()
    }
    assert {"view_pod", "view_alert", "view_fleet"} <= allowed["viewer"]
    assert not [name for name in allowed["viewer"] if not name.startswith("view_")]
    operates = allowed["operator"] - allowed["viewer"]
    assert {"change_fleet", "change_pod", "acknowledge_alert", "change_override"} <= operates
    assert not {"change_account", "change_channel", "delete_fleet"} & operates
    assert {"change_account", "change_channel", "delete_fleet"} <= allowed["admin"]


def test_the_alert_of_a_long_life_follows_the_fleets_own_hours(
    fleet: Fleet, time: SteppedClock
) -> None:
    Fleet.objects.filter(pk=fleet.pk).update(alert_after_hours=2)
    a_pod(fleet, READY)
    time.advance(timedelta(hours=2).total_seconds())
    reconciling.reconcile_alerts()
    assert [cause for cause, _ in open_causes()] == ["pod_old"]


def test_what_is_new_is_sent_for_when_it_is_written_and_what_was_lost_is_sent_for_again(
    fleet: Fleet,
    channel: Channel,
    time: SteppedClock,
    django_capture_on_commit_callbacks: Any,
) -> None:
    a_pod(fleet, READY)
    time.advance(24 * HOUR)
    for _ in range(2):  # nobody took the first message
        with (
            mock.patch("pods.dispatch.current_app.send_task") as sent,
            django_capture_on_commit_callbacks(execute=True),
        ):
            reconciling.reconcile_alerts()
            assert not sent.called
        assert [(*c.args, c.kwargs["args"]) for c in sent.call_args_list] == [
            ("notify.deliver", (channel.pk,))
        ]
    router = current_app.amqp.router
    assert router.route({}, "notify.deliver")["queue"].name == "notify"
    assert router.route({}, "fleet.alert")["queue"].name == "control"
    assert router.route({}, "fleet.read_balance")["queue"].name == "vendor"


def test_two_reconciliations_at_once_open_one_alert_and_tell_it_once(
    fleet: Fleet, channel: Channel, time: SteppedClock
) -> None:
    a_pod(fleet, READY)
    time.advance(24 * HOUR)
    gather = reconciling.gather

    def meanwhile(now: Any) -> Any:
        facts = gather(now)
        with mock.patch.object(reconciling, "gather", gather):
            reconciling.reconcile_alerts()
        return facts

    with mock.patch.object(reconciling, "gather", meanwhile):
        reconciling.reconcile_alerts()
    assert (Alert.objects.count(), told()) == (1, 1)


def test_the_tasks_of_the_schedule_exist() -> None:
    current_app.loader.import_default_modules()
    wanted = set(PeriodicTask.objects.values_list("task", flat=True))
    assert wanted - set(current_app.tasks.keys()) == set()
