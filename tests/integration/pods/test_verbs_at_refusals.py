"""What each verb does when the vendor refuses, limits the rate, or cannot be used at all."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest

from pods import lifecycle, resuming, spawning, teardown
from pods.accounts.connecting import CannotConnect
from pods.agent.protocol import AgentState
from pods.base import clock
from pods.emulators.base import Reply
from pods.models import Account, Pod, PodEvent, PriceSegment
from pods.providers.base import Machine, PodSpec, Provider
from pods.rules import PodRule
from pods.spawning import TRIES, pause
from pods.states import (
    BOOTING,
    CREATING,
    DRAINING,
    READY,
    REQUESTED,
    STOPPED,
    STOPPING,
    TERMINATING,
    PodState,
)
from tests.support.factories import a_pod
from tests.support.rigs.runpod_rig import ACTION, POD, PODS
from tests.support.world import PROBLEM, World, reply, state

pytestmark = pytest.mark.django_db


def unusable(_account: Account) -> Provider:
    raise CannotConnect("the variable THE_KEY is not set")


def too_many(headers: Mapping[str, str]) -> Reply:
    body = {"title": "x", "status": 429, "detail": "slow down"}
    return Reply(status=429, json=body, headers=dict(headers), content_type=PROBLEM)


def waits(pod: Pod) -> timedelta:
    """How long until the next step of the pod."""
    pod.refresh_from_db()
    assert pod.due_at is not None
    return pod.due_at - clock.utcnow()


def test_a_new_pod_whose_account_cannot_be_used_fails_with_the_reason_and_costs_nothing(
    world: World,
) -> None:
    pod = world.requested()
    spawning.spawn_pod(pod.pk, connect=unusable)
    pod.refresh_from_db()
    assert (pod.state, pod.retire_rule) == ("failed", PodRule.CANNOT_CONNECT.value)
    assert "THE_KEY is not set" in pod.because
    assert not PriceSegment.objects.filter(pod=pod).exists()


def test_a_pod_that_may_have_a_machine_is_not_given_up_while_its_account_cannot_be_used(
    world: World,
) -> None:
    world.rig.server.faults.lose_answer("POST", PODS)
    pod = world.spawn(world.requested())
    for _ in range(TRIES + 2):
        spawning.spawn_pod(pod.pk, connect=unusable)
    assert (state(pod), len(world.living())) == ("creating", 1)
    world.run(900, until=lambda: state(pod) == "booting")
    assert len(world.living()) == 1


def test_a_refused_create_fails_with_the_vendors_words_and_costs_nothing(world: World) -> None:
    world.rig.server.faults.answer("POST", PODS, reply(422))
    pod = world.spawn(world.requested())
    assert (pod.state, pod.retire_rule, pod.external_id) == ("failed", PodRule.REFUSED.value, None)
    assert "422" in pod.because
    assert not PriceSegment.objects.filter(pod=pod).exists()


@pytest.mark.parametrize(
    ("headers", "wait"),
    [({"Retry-After": "40"}, timedelta(seconds=40)), ({}, pause(0))],
    ids=["the vendor says how long", "it does not"],
)
def test_a_create_under_a_rate_limit_waits_as_long_as_the_vendor_says(
    world: World, headers: Mapping[str, str], wait: timedelta
) -> None:
    world.rig.server.faults.answer("POST", PODS, too_many(headers))
    pod = world.spawn(world.requested())
    assert (pod.state, waits(pod), world.living()) == ("creating", wait, [])
    world.run(300, until=lambda: state(pod) == "booting")


@pytest.mark.parametrize(
    ("headers", "wait"),
    [({"Retry-After": "40"}, timedelta(seconds=40)), ({}, pause(0))],
    ids=["the vendor says how long", "it does not"],
)
def test_a_destroy_under_a_rate_limit_waits_as_long_as_the_vendor_says(
    world: World, headers: Mapping[str, str], wait: timedelta
) -> None:
    pod = world.booted()
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    world.rig.server.faults.answer("DELETE", POD, too_many(headers), times=20)
    teardown.teardown_pod(pod.pk, connect=world.connect)
    assert (state(pod), waits(pod)) == ("terminating", wait)
    world.rig.server.faults.clear()
    world.run(900, until=lambda: state(pod) == "terminated")


@pytest.mark.parametrize("to", [STOPPING, TERMINATING])
def test_an_end_waits_while_its_account_cannot_be_used_and_says_why(
    world: World, to: PodState
) -> None:
    pod = world.booted()
    if to is STOPPING:
        facts: dict[str, Any] = {"by": "test", "rule": PodRule.OPERATOR, "because": "x"}
        teardown.stop_pod(pod, connect=world.connect, **facts)
        world.beat(pod, AgentState.DRAINED)
    else:
        teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    teardown.teardown_pod(pod.pk, connect=unusable)
    assert (state(pod), waits(pod) > timedelta(0)) == (to.value, True)
    assert "cannot connect: the variable THE_KEY is not set" in pod.note
    world.run(900, until=lambda: state(pod) in {"stopped", "terminated"})


def test_a_resume_waits_while_its_account_cannot_be_used(world: World) -> None:
    pod = a_pod(world.fleet, STOPPED)
    resuming.begin_resume(pod, by="test", because="x")
    resuming.resume_pod(pod.pk, connect=unusable)
    assert (state(pod), waits(pod) > timedelta(0)) == ("resuming", True)
    assert "THE_KEY is not set" in pod.note


@pytest.mark.parametrize(
    ("before", "drain", "after"),
    [
        (REQUESTED, True, "failed"),
        (BOOTING, True, "terminating"),
        (READY, True, "draining"),
        (READY, False, "terminating"),
        (DRAINING, False, "terminating"),
        (STOPPED, True, "terminating"),
        (STOPPING, True, "terminating"),
    ],
)
def test_an_end_begins_in_each_state(
    world: World, before: PodState, after: str, *, drain: bool
) -> None:
    pod = a_pod(world.fleet, before)
    assert teardown.retire_pod(pod, by="x", rule=PodRule.OPERATOR, because="y", drain=drain)
    assert (state(pod), pod.retire_rule) == (after, PodRule.OPERATOR.value)


@pytest.mark.parametrize(
    ("before", "drain"),
    [
        (DRAINING, True),
        (TERMINATING, True),
        (TERMINATING, False),
        (PodState.TERMINATED, False),
        (PodState.LOST, False),
    ],
)
def test_an_end_that_has_begun_is_not_begun_again(
    world: World, before: PodState, *, drain: bool
) -> None:
    pod = a_pod(world.fleet, before)
    assert not teardown.retire_pod(pod, by="x", rule=PodRule.OPERATOR, because="y", drain=drain)
    assert (state(pod), pod.retire_rule) == (before.value, "")


@pytest.mark.parametrize("before", [BOOTING, DRAINING, STOPPED, TERMINATING])
def test_only_a_pod_that_works_can_be_stopped(world: World, before: PodState) -> None:
    pod = a_pod(world.fleet, before)
    assert not teardown.stop_pod(
        pod, by="x", rule=PodRule.OPERATOR, because="y", connect=world.connect
    )
    assert (state(pod), pod.stop_when_idle) == (before.value, False)


def test_a_stop_that_fails_for_a_while_is_asked_again(world: World) -> None:
    pod = world.booted()
    teardown.stop_pod(pod, by="x", rule=PodRule.OPERATOR, because="y", connect=world.connect)
    world.beat(pod, AgentState.DRAINED)
    world.rig.server.faults.answer("POST", ACTION, reply(503), times=6)
    teardown.teardown_pod(pod.pk, connect=world.connect)
    pod.refresh_from_db()
    assert (pod.state, pod.note[:6]) == ("stopping", "stop: ")
    world.run(300, until=lambda: state(pod) == "stopped")


def test_a_pod_that_another_worker_holds_is_not_torn_down(world: World) -> None:
    pod = world.booted()
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    with lifecycle.claimed(pod.pk):
        teardown.teardown_pod(pod.pk, connect=world.connect)
    assert len(world.living()) == 1


@pytest.mark.parametrize("status", [401, 402])
def test_a_create_that_the_account_may_not_ask_for_closes_the_account_at_once(
    world: World, status: int
) -> None:
    world.rig.server.faults.answer("POST", PODS, reply(status))
    assert world.spawn(world.requested()).state == "failed"
    world.account.refresh_from_db()
    now = clock.utcnow()
    assert (world.account.open_until or now) > now
    assert world.account.create_refused_at == now


def test_what_the_vendor_does_not_say_of_a_new_machine_stays_as_it_was_offered(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    create, said = world.provider.create, {"region": "", "host": "", "console_url": "https://x"}

    def quiet(spec: PodSpec, *, token: str) -> Machine:
        return replace(create(spec, token=token), **said)

    monkeypatch.setattr(world.provider, "create", quiet)
    pod = world.spawn(world.requested(region="EU-RO-1", host="h1"))
    assert (pod.region, pod.host, pod.console_url) == ("EU-RO-1", "h1", "https://x")


@pytest.mark.parametrize(("said", "booked"), [(None, "0.31"), (Decimal(7), "7")])
def test_the_price_of_a_new_machine_is_the_vendors_or_the_offered_one_if_it_says_none(
    world: World, monkeypatch: pytest.MonkeyPatch, said: Decimal | None, booked: str
) -> None:
    create = world.provider.create

    def at_a_price(spec: PodSpec, *, token: str) -> Machine:
        return replace(create(spec, token=token), hourly_usd=said)

    monkeypatch.setattr(world.provider, "create", at_a_price)
    pod = world.spawn(world.requested(hourly_usd=Decimal("0.31")))
    assert pod.hourly_usd == Decimal(booked)
    assert PriceSegment.objects.get(pod=pod, until=None).hourly_usd == Decimal(booked)


def test_an_end_of_a_pod_that_is_being_created_ends_no_other(world: World) -> None:
    pod, other = a_pod(world.fleet, CREATING), a_pod(world.fleet, CREATING)
    facts: dict[str, Any] = {"by": "x", "rule": PodRule.OPERATOR, "because": "y"}
    assert teardown.retire_pod(pod, **facts)
    asked = PodEvent.objects.filter(pod=pod).latest("pk")
    assert (asked.by, asked.rule, asked.because) == ("x", PodRule.OPERATOR.value, "y")
    assert not teardown.retire_pod(pod, **facts)
    other.refresh_from_db()
    assert other.retire_rule == ""
    Pod.objects.filter(pk=pod.pk).update(retire_rule="")
    lifecycle.move(Pod.objects.get(pk=pod.pk), BOOTING, by="spawn", because="created meanwhile")
    with pytest.raises(lifecycle.Overtaken):
        teardown.retire_pod(pod, **facts)
    pod.refresh_from_db()
    assert pod.retire_rule == ""


def test_a_pod_of_a_vendor_that_cannot_stop_machines_is_not_drained_to_be_stopped(
    world: World,
) -> None:
    pod = world.booted()
    cannot = replace(world.provider.capabilities, can_stop=False)
    with (
        mock.patch.object(world.provider, "capabilities", cannot),
        pytest.raises(teardown.CannotStop, match="drain it instead"),
    ):
        teardown.stop_pod(pod, by="x", rule=PodRule.OPERATOR, because="y", connect=world.connect)
    assert state(pod) == "ready"


def test_a_drain_that_ended_late_ends_because_the_agent_says_so(world: World) -> None:
    pod = world.booted()
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x")
    world.rig.clock.advance(pod.drain_seconds + 1)
    world.beat(pod, AgentState.DRAINED)
    teardown.teardown_pod(pod.pk, connect=world.connect)
    moved = PodEvent.objects.filter(pod=pod, after="terminating").get()
    assert moved.because == "the agent says drained"


def test_a_machine_that_is_gone_after_its_destroy_is_not_destroyed_again(world: World) -> None:
    pod = world.booted()
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    teardown.teardown_pod(pod.pk, connect=world.connect)
    pod.refresh_from_db()
    first, asked = pod.destroy_asked_at, world.rig.server.calls("DELETE", POD)
    world.rig.clock.advance(30)
    teardown.teardown_pod(pod.pk, connect=world.connect)
    pod.refresh_from_db()
    assert (pod.destroy_asked_at, world.rig.server.calls("DELETE", POD)) == (first, asked)
    assert first is not None
