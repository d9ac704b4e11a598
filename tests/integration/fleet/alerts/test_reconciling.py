"""Real rows and a stepped clock open, announce, silence and end alerts."""

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

from fleet import operating
from fleet.alerts import answering, reconciling
from fleet.models import Alert, Channel, Delivery, Fleet
from fleet.tick import ticking
from pods import lifecycle
from pods.emulators.base import SteppedClock
from pods.models import Account, Orphan, Pod
from pods.rules import PodRule
from pods.states import CREATING, FAILED, LOST, READY
from tests.support.factories import NOON, a_fleet, a_pod, an_account, hours
from tests.support.items import add_items

pytestmark = pytest.mark.django_db
HOUR = 3600


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


def test_the_alert_for_an_old_pod_is_announced_daily_until_acknowledged_and_ends_with_it(
    fleet: Fleet, channel: Channel, time: SteppedClock
) -> None:
    pod = a_pod(fleet, READY)
    time.advance(24 * HOUR - 15)
    reconciling.reconcile_alerts()
    assert open_causes() == []
    for seconds in (15, 15, 15, *[300] * 12):  # an hour
        time.advance(seconds)
        reconciling.reconcile_alerts()
    alert = Alert.objects.get()
    assert (alert.cause, alert.subject, told()) == ("pod_old", f"pod:{pod.pk}", 1)
    assert alert.first_seen_at == NOON + hours(24)
    assert alert.last_seen_at == time.now
    time.advance(23 * HOUR)
    reconciling.reconcile_alerts()
    reconciling.reconcile_alerts()
    assert (Alert.objects.count(), told()) == (1, 2)  # the same alert, again after 24 h more
    assert answering.acknowledge([alert], by="ann") == 1
    time.advance(72 * HOUR)
    reconciling.reconcile_alerts()
    assert (Alert.objects.count(), told()) == (1, 2)
    assert open_causes() == [("pod_old", f"pod:{pod.pk}")]
    lifecycle.move(Pod.objects.get(pk=pod.pk), LOST, by="test", because="gone")
    reconciling.reconcile_alerts()
    alert.refresh_from_db()
    assert (open_causes(), alert.resolved_at, alert.acknowledged_by) == ([], time.now, "ann")


def test_a_snoozed_alert_that_still_lasts_is_announced_when_the_snooze_ends(
    fleet: Fleet, channel: Channel, time: SteppedClock
) -> None:
    a_pod(fleet, READY)
    time.advance(24 * HOUR)
    reconciling.reconcile_alerts()
    answering.snooze(Alert.objects.all(), until=time.now + hours(30), by="ann")
    time.advance(29 * HOUR)
    reconciling.reconcile_alerts()
    assert told() == 1
    time.advance(2 * HOUR)
    reconciling.reconcile_alerts()
    assert told() == 2


def test_a_snooze_until_a_past_moment_is_refused(fleet: Fleet, time: SteppedClock) -> None:
    with pytest.raises(ValueError, match="give a time in the future"):
        answering.snooze([], until=time.now, by="ann")


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


def test_refused_credentials_an_orphan_and_a_late_tick_raise_alerts(
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


def test_a_budget_has_one_open_alert_for_the_highest_step_reached(
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


def test_pods_that_never_boot_raise_an_alert_until_one_works(
    fleet: Fleet, time: SteppedClock, redis_url: str
) -> None:
    for _ in range(3):
        time.advance(60)
        assert open_causes() == []
        a_pod(fleet, LOST, retire_rule="never_booted")
        ticking.tick_fleet(fleet.pk)
        reconciling.reconcile_alerts()
    assert open_causes() == [("boots_fail", f"fleet:{fleet.pk}")]
    time.advance(60)
    pod = a_pod(fleet, READY, ready_at=time.now)
    ticking.tick_fleet(fleet.pk)
    reconciling.reconcile_alerts()
    assert open_causes() == [("boots_fail", f"fleet:{fleet.pk}")]
    Pod.objects.filter(pk=pod.pk).update(done=1)
    time.advance(15)
    ticking.tick_fleet(fleet.pk)
    reconciling.reconcile_alerts()
    assert open_causes() == []


def test_why_each_account_gave_no_machine_is_in_the_alert(
    fleet: Fleet, time: SteppedClock, redis_url: str
) -> None:
    add_items(redis_url, 50)
    operating.make_group(fleet)
    accounts = [fleet.accounts.get(), an_account(name="second")]
    for n in range(11):
        for account in accounts:
            refused = a_pod(fleet, CREATING, account=account)
            because = f"NoCapacity: none left, try {n}"
            lifecycle.move(refused, FAILED, by="spawn", rule=PodRule.NO_CAPACITY, because=because)
        ticking.tick_fleet(fleet.pk)
        Pod.objects.filter(state="requested").update(state="failed")
        reconciling.reconcile_alerts()
        time.advance(60)
    alert = Alert.objects.get(cause="no_pods")
    assert f"{accounts[0]}: NoCapacity: none left, try 10" in alert.text
    assert "second: NoCapacity: none left, try 10" in alert.text
    assert alert.severity == "critical"
    a_pod(fleet, READY, booted_at=time.now)
    reconciling.reconcile_alerts()
    alert.refresh_from_db()
    assert alert.severity == "warning"  # it works, and no further pod can be rented


def test_an_alert_stays_the_same_over_a_time_without_decisions(
    fleet: Fleet, time: SteppedClock, redis_url: str
) -> None:
    add_items(redis_url, 50)
    operating.make_group(fleet)
    fleet.accounts.clear()

    def tick_for(count: int) -> None:
        for _ in range(count):
            ticking.tick_fleet(fleet.pk)
            reconciling.reconcile_alerts()
            time.advance(60)

    tick_for(11)
    assert open_causes() == [("no_pods", f"fleet:{fleet.pk}")]
    PeriodicTask.objects.filter(pk=fleet.schedule_id).update(enabled=True)
    for _ in range(13):  # the broker is away
        time.advance(60)
        reconciling.reconcile_alerts()
        assert ("no_pods", f"fleet:{fleet.pk}") in open_causes()
    tick_for(11)
    assert Alert.objects.filter(cause="no_pods").count() == 1
    Fleet.objects.update(mode="paused")
    fleet.refresh_from_db()
    tick_for(2)
    assert open_causes() == []


def test_a_channel_receives_only_alerts_of_its_severity_or_above(
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


def test_the_database_allows_only_one_open_alert_for_a_cause(
    fleet: Fleet, time: SteppedClock
) -> None:
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


def test_migrations_make_the_schedule_and_the_roles() -> None:
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


def test_the_alert_for_an_old_pod_uses_the_hours_of_its_fleet(
    fleet: Fleet, time: SteppedClock
) -> None:
    Fleet.objects.filter(pk=fleet.pk).update(alert_after_hours=2)
    a_pod(fleet, READY)
    time.advance(timedelta(hours=2).total_seconds())
    reconciling.reconcile_alerts()
    assert [cause for cause, _ in open_causes()] == ["pod_old"]


def test_the_delivery_task_is_sent_on_commit_and_again_after_a_loss(
    fleet: Fleet,
    channel: Channel,
    time: SteppedClock,
    django_capture_on_commit_callbacks: Any,
) -> None:
    a_pod(fleet, READY)
    time.advance(24 * HOUR)
    for _ in range(2):  # no worker received the first message
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


def test_two_reconciliations_at_once_open_and_announce_one_alert(
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
