"""What one look at a pod may and may not change in its row."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest

from pods import health, lifecycle, tasks
from pods.accounts.connecting import CannotConnect
from pods.base import clock
from pods.models import Account, Pod, PodEvent, PriceSegment
from pods.providers.base import Machine, Provider
from pods.rules import PodRule
from pods.states import DRAINING, STOPPED, TERMINATED, TERMINATING, PodState
from tests.support.factories import a_pod, an_account
from tests.support.world import World, state

pytestmark = pytest.mark.django_db


def listing(world: World, monkeypatch: pytest.MonkeyPatch, **facts: Any) -> None:
    """Let the vendor say something else of each machine."""
    list_tagged = world.provider.list_tagged

    def changed(tag: str) -> list[Machine]:
        return [replace(machine, **facts) for machine in list_tagged(tag)]

    monkeypatch.setattr(world.provider, "list_tagged", changed)


def test_a_pod_that_was_never_swept_is_checked(world: World) -> None:
    pod = world.spawn(world.requested())
    world.beat(pod)
    health.check_pod(pod.pk, connect=world.connect)
    assert state(pod) == "booting"


def test_a_pod_that_does_not_exist_is_not_checked(world: World) -> None:
    health.check_pod(12345, connect=world.connect)


@pytest.mark.parametrize("before", [DRAINING, TERMINATING, TERMINATED])
def test_a_pod_that_is_ending_is_not_diagnosed(world: World, before: PodState) -> None:
    pod = a_pod(world.fleet, before)
    asked = list[Account]()

    def connect(account: Account) -> Provider:
        asked.append(account)
        raise CannotConnect("x")

    health.check_pod(pod.pk, connect=connect)
    assert asked == []


def test_a_machine_that_cannot_come_back_is_lost_at_once_and_is_not_destroyed(
    world: World, django_capture_on_commit_callbacks: Any
) -> None:
    pod = world.booted()
    world.rig.clock.advance(600)
    missing_since = clock.utcnow()
    world.rig.state.delete(str(pod.external_id))
    final = replace(world.provider.capabilities, comes_back=False)
    with mock.patch.object(world.provider, "capabilities", final):
        world.beat(pod)
        world.sweep()
        world.rig.clock.advance(200)
        with (
            mock.patch("pods.dispatch.current_app.send_task") as sent,
            django_capture_on_commit_callbacks(execute=True),
        ):
            health.check_pod(pod.pk, connect=world.connect)
    pod.refresh_from_db()
    assert (pod.state, pod.retire_because) == ("lost", "")
    assert "absent" in pod.lost_because
    assert PriceSegment.objects.get(pod=pod).until == missing_since
    assert not sent.called


def test_a_vendor_that_does_not_say_a_price_changes_none(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = world.booted()
    before = pod.hourly_usd
    listing(world, monkeypatch, hourly_usd=None)
    world.beat(pod, done=3)
    world.sweep()
    pod.refresh_from_db()
    assert (pod.done, pod.hourly_usd) == (3, before)


def test_a_stopped_pod_that_runs_is_not_booked_at_the_price_of_a_pod_that_works(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod = world.booted()
    rent = Decimal("0.004")
    Pod.objects.filter(pk=pod.pk).update(stopped_hourly_usd=rent)
    pod.refresh_from_db()
    lifecycle.move(pod, DRAINING, by="test", rule=PodRule.OPERATOR, because="x")
    lifecycle.move(pod, PodState.STOPPING, by="test", because="x")
    lifecycle.move(pod, STOPPED, by="test", because="x")
    price = pod.hourly_usd
    health.sweep_account(world.account, connect=world.connect)
    pod.refresh_from_db()
    assert pod.hourly_usd == price
    assert PriceSegment.objects.get(pod=pod, until=None).hourly_usd == rent


def test_a_sweep_of_one_account_leaves_the_pods_of_another_alone(world: World) -> None:
    other = a_pod(world.fleet, account=an_account("runpod", name="other"))
    world.sweep()
    other.refresh_from_db()
    assert (other.heard_since, other.absent_since) == (None, None)


def test_a_new_pod_is_looked_at_again_soon_and_an_old_one_waits_for_the_sweep(
    world: World, django_capture_on_commit_callbacks: Any
) -> None:
    def sent_by_a_check() -> list[float]:
        with (
            mock.patch("pods.dispatch.current_app.send_task") as sent,
            django_capture_on_commit_callbacks(execute=True),
        ):
            health.check_pod(pod.pk, connect=world.connect)
        return [call.kwargs["countdown"] for call in sent.call_args_list]

    pod = world.spawn(world.requested())
    assert sent_by_a_check() == [health.LOOK_EVERY.total_seconds()]
    world.rig.clock.advance(health.FIRST_LOOKS.total_seconds() + 1)
    assert sent_by_a_check() == []
    world.beat(pod)
    world.sweep()
    assert state(pod) == "ready"
    assert sent_by_a_check() == []


def test_a_pod_that_boots_is_checked_at_later_ages_and_not_in_between(world: World) -> None:
    """A registry may refuse an image late, and only the pod's own status says it."""
    world.spawn(world.requested())
    ages = []
    for age in range(0, 600, 20):
        world.account.refresh_from_db()
        with mock.patch("pods.health.dispatch.send") as sent:
            assert health.sweep_account(world.account, connect=world.connect) == 0
        ages += [age] if sent.called else []
        world.rig.clock.advance(20)
    assert ages == [40, 60, 120, 240, 480]


def test_only_enabled_accounts_are_surveyed(world: World) -> None:
    an_account("runpod", name="closed", enabled=False)
    with mock.patch("pods.tasks.current_app.send_task") as sent:
        tasks.survey()
    assert [call.kwargs["args"] for call in sent.call_args_list] == [(world.account.pk,)]


def test_only_accounts_with_pods_that_bill_are_swept(world: World) -> None:
    a_pod(world.fleet, TERMINATED, account=an_account("runpod", name="old"))
    a_pod(world.fleet)
    with mock.patch.object(tasks.sweep_account, "apply_async") as sent:
        tasks.sweep()
    assert [call.args[0] for call in sent.call_args_list] == [(world.account.pk,)]


def test_an_ended_pods_age_is_how_long_it_existed(world: World) -> None:
    pod = a_pod(world.fleet)
    now = clock.utcnow()
    assert pod.age(now + timedelta(hours=2)) == timedelta(hours=2)
    pod.ended_at = pod.requested_at + timedelta(hours=1)
    assert pod.age(now + timedelta(hours=2)) == timedelta(hours=1)


@pytest.mark.parametrize(
    ("facts", "text"),
    [
        ({"before": "ready", "after": "draining"}, "ready → draining: x"),
        ({}, "- → -: x"),
    ],
)
def test_an_event_says_from_where_to_where(facts: dict[str, str], text: str) -> None:
    assert str(PodEvent(because="x", **facts)) == text
