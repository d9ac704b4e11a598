"""Idle pods are stopped, run again when they are the cheapest, and do not bill for ever."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fleet import operating
from fleet.models import Fleet, Tick
from fleet.tick import gathering, requesting, ticking
from pods import spawning
from pods.accounts import connecting, surveying
from pods.agent.protocol import AgentState, Command
from pods.base import clock
from pods.emulators.base import Reply
from pods.models import Account, Pod, PodEvent, PriceSegment
from tests.support.factories import NOON
from tests.support.items import add_items
from tests.support.rigs.runpod_rig import ACTION, KEY
from tests.support.world import World

pytestmark = pytest.mark.django_db

RENT = Decimal("0.004")
A_LONG_WHILE_MS = 10_000_000


@pytest.fixture
def stopping(world: World, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> World:
    """A fleet that stops idle pods, with one pod that has worked."""
    monkeypatch.setenv("THE_KEY", KEY)
    Account.objects.update(options={"base_url": world.rig.server.url}, secret_ref="env:THE_KEY")
    Fleet.objects.update(idle_action="stop", max_stopped_hours=24, max_instances=3)
    Fleet.objects.update(proven_template=requesting.template_hash(world.fleet), image="i:1")
    world.fleet.refresh_from_db()
    Fleet.objects.update(proven_template=requesting.template_hash(world.fleet))
    operating.make_group(world.fleet)
    return world


def stopped(world: World) -> Pod:
    pod = world.booted()
    Pod.objects.filter(pk=pod.pk).update(stopped_hourly_usd=RENT)
    world.beat(pod, idle_ms=A_LONG_WHILE_MS, done=9)
    tick(world)
    pod.refresh_from_db()
    assert (pod.state, pod.stop_when_idle) == ("draining", True)
    world.beat(pod, AgentState.DRAINED)
    world.run(60, until=lambda: is_in(pod, "stopped"))
    return pod


def end_in_the_console(world: World, pod: Pod) -> None:
    """End the machine at a vendor that goes on showing it as ended."""
    world.rig.state.linger, world.rig.state.shows_ended = A_LONG_WHILE_MS, True
    world.rig.state.delete(str(pod.external_id))


def is_in(pod: Pod, state: str) -> bool:
    pod.refresh_from_db()
    return bool(pod.state == state)


def tick(world: World) -> Any:
    account = Account.objects.get()
    surveying.survey_account(account, connect=world.connect)
    decision = ticking.tick_fleet(world.fleet.pk)
    assert decision is not None
    return decision


def test_an_idle_pod_is_stopped_and_then_costs_the_rent_of_its_disk(
    stopping: World,
) -> None:
    pod = stopped(stopping)
    assert stopping.living() == [pod.external_id]
    [running] = PriceSegment.objects.filter(pod=pod, until=None)
    assert running.hourly_usd == RENT
    tick(stopping)
    assert Tick.objects.latest("pk").hourly_usd == RENT
    stopping.rig.clock.advance(3600)
    seen = gathering.gather(stopping.fleet, clock.utcnow()).seen
    assert seen.spent_total_usd >= RENT


def test_a_stopped_pod_runs_again_before_a_dearer_one_is_rented_and_its_agent_works(
    stopping: World, redis_url: str
) -> None:
    pod = stopped(stopping)
    add_items(redis_url, 500)
    decision = tick(stopping)
    assert (decision.spawn, [r.pod_id for r in decision.resume]) == ((), [pod.pk])
    assert f"resumes 1 pod (stopped pod {pod.pk} runs again at" in decision.sentence
    assert "the best new pod is not cheaper at" in PodEvent.objects.filter(pod=pod).last().because
    stopping.run(200, until=lambda: is_in(pod, "booting"))
    assert stopping.redis.get(connecting.keys(pod).command(pod.name)) is None, Command.DRAIN
    stopping.beat(pod, done=9)
    stopping.rig.clock.advance(60)
    stopping.sweep()
    pod.refresh_from_db()
    assert (pod.state, pod.stop_when_idle, pod.retire_because) == ("ready", False, "")
    assert PriceSegment.objects.get(pod=pod, until=None).hourly_usd == pod.hourly_usd


def test_a_stopped_pod_stays_stopped_if_a_cheaper_offer_exists(
    stopping: World, redis_url: str
) -> None:
    pod = stopped(stopping)
    Pod.objects.filter(pk=pod.pk).update(hourly_usd=Decimal(9))
    add_items(redis_url, 500)
    decision = tick(stopping)
    assert decision.resume == ()
    assert len(decision.spawn) == 1


@pytest.mark.fault(24)
def test_a_stopped_pod_whose_host_is_taken_is_replaced(stopping: World, redis_url: str) -> None:
    pod = stopped(stopping)
    stopping.rig.state.full_hosts.add(str(pod.external_id))
    add_items(redis_url, 500)
    tick(stopping)
    stopping.run(600, until=lambda: is_in(pod, "terminated"))
    assert "cannot be resumed" in pod.retire_because
    assert len(tick(stopping).spawn) == 1


@pytest.mark.parametrize(
    "closed",
    [{"enabled": False}, {"open_until": NOON + timedelta(days=365)}],
    ids=["disabled", "breaker open"],
)
def test_a_stopped_pod_of_a_closed_account_stays_stopped(
    stopping: World, redis_url: str, closed: dict[str, Any]
) -> None:
    pod = stopped(stopping)
    add_items(redis_url, 500)
    assert len(tick(stopping).resume) == 1
    before = {"enabled": True, "open_until": None}
    Account.objects.update(**closed)
    stopping.work()
    assert is_in(pod, "stopped")
    assert "not started: the account" in pod.because
    assert (tick(stopping).resume, tick(stopping).retire) == ((), ())
    [running] = PriceSegment.objects.filter(pod=pod, until=None)
    assert running.hourly_usd == RENT
    Account.objects.update(**before)
    assert [r.pod_id for r in tick(stopping).resume] == [pod.pk]


@pytest.mark.fault(25)
def test_a_pod_stopped_for_too_long_is_destroyed(stopping: World) -> None:
    pod = stopped(stopping)
    stopping.rig.clock.advance(23 * 3600)
    assert tick(stopping).retire == ()
    stopping.rig.clock.advance(2 * 3600)
    assert [r.rule for r in tick(stopping).retire] == ["max_stopped_hours"]
    stopping.run(600, until=lambda: is_in(pod, "terminated"))
    assert stopping.living() == []


def test_an_ending_pod_that_was_stopped_costs_only_its_stopped_price(stopping: World) -> None:
    """Found by the seed 100789: with two such pods the fleet exceeded its hourly limit."""
    pod = stopped(stopping)
    refused = Reply(status=503, json={"title": "x", "status": 503, "detail": "x"})
    stopping.rig.server.faults.answer("DELETE", ".*", refused, times=500)
    stopping.rig.clock.advance(25 * 3600)
    assert [r.rule for r in tick(stopping).retire] == ["max_stopped_hours"]
    stopping.run(60)
    assert is_in(pod, "terminating")
    assert gathering.gather(stopping.fleet, clock.utcnow()).seen.hourly_usd == RENT
    [running] = PriceSegment.objects.filter(pod=pod, until=None)
    assert running.hourly_usd == RENT


def test_a_spent_budget_also_ends_the_rent_of_disks(stopping: World) -> None:
    pod = stopped(stopping)
    Fleet.objects.update(total_budget_usd=Decimal("0.0001"))
    stopping.rig.clock.advance(3600)
    [leaving] = tick(stopping).retire
    assert (leaving.pod_id, leaving.rule) == (pod.pk, "stopped")
    assert "budget" in leaving.because


@pytest.mark.parametrize("fails", [True, False], ids=["it fails", "every stop is refused"])
def test_a_pod_that_cannot_be_stopped_is_destroyed(stopping: World, *, fails: bool) -> None:
    pod = stopping.booted()
    stopping.beat(pod, idle_ms=A_LONG_WHILE_MS, done=9)
    tick(stopping)
    stopping.beat(pod, AgentState.DRAINED)
    if fails:
        stopping.rig.state.fail(str(pod.external_id))
    else:
        body = {"title": "x", "status": 409, "detail": "action not valid for current pod status"}
        refusal = Reply(status=409, json=body, content_type="application/problem+json")
        stopping.rig.server.faults.answer("POST", ACTION, refusal, times=1000)
    stopping.run(1800, until=lambda: is_in(pod, "terminated"))
    assert stopping.living() == []


def test_a_stopped_pod_that_the_vendor_lists_as_ended_is_lost(stopping: World) -> None:
    pod = stopped(stopping)
    end_in_the_console(stopping, pod)
    stopping.listen(300)
    stopping.run(900, until=lambda: is_in(pod, "lost"))


def test_a_pod_that_the_vendor_lists_as_ended_while_it_stops_is_not_asked_to_stop(
    stopping: World,
) -> None:
    pod = stopping.booted()
    stopping.beat(pod, idle_ms=A_LONG_WHILE_MS, done=9)
    tick(stopping)
    stopping.beat(pod, AgentState.DRAINED)
    end_in_the_console(stopping, pod)
    stopping.work()
    assert is_in(pod, "terminating")
    assert not pod.note
    stopping.run(900, until=lambda: is_in(pod, "terminated"))


def test_a_pod_that_the_vendor_lists_as_ended_is_not_resumed_again_and_again(
    stopping: World, redis_url: str
) -> None:
    pod = stopped(stopping)
    end_in_the_console(stopping, pod)
    add_items(redis_url, 500)
    tick(stopping)
    assert is_in(pod, "resuming")
    stopping.work()
    assert is_in(pod, "terminating")
    assert pod.because == "cannot be resumed: the provider lists it as ended"


@pytest.mark.fault(24)
def test_a_stopped_pod_that_never_runs_again_is_replaced_after_some_tries(
    stopping: World, redis_url: str
) -> None:
    pod = stopped(stopping)
    add_items(redis_url, 500)
    tick(stopping)
    assert is_in(pod, "resuming")
    for _ in range(spawning.TRIES):
        assert is_in(pod, "resuming")
        stopping.rig.server.faults.answer("POST", ACTION, Reply(json={}))
        stopping.work()
        stopping.rig.clock.advance(300)
    stopping.work()
    assert is_in(pod, "terminating")
    assert pod.because == f"did not run after {spawning.TRIES} tries to start it"
