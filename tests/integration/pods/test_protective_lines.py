"""Tests of single lines that no larger test certainly needs (tests/mutations removes each line)."""

from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.conf import settings

from pods import lifecycle, spawning, teardown
from pods.base import clock
from pods.emulators.base import Reply
from pods.lifecycle import DuplicateMachine, IllegalMove
from pods.models import Pod, PriceSegment
from pods.providers.base import Capabilities, Machine, PodSpec
from pods.providers.errors import Refused
from pods.rules import PodRule
from pods.states import TERMINATED
from tests.support.rigs.runpod_rig import POD, PODS
from tests.support.world import World, reply, state

pytestmark = pytest.mark.django_db
BACKLOG = "embedding_tasks"


@pytest.mark.fault(9)
def test_each_try_to_create_waits_again_until_the_list_can_be_trusted(world: World) -> None:
    world.rig.state.list_lag = 60
    world.rig.server.faults.lose_request("POST", PODS)
    world.rig.server.faults.lose_answer("POST", PODS)
    pod = world.spawn(world.requested())
    world.run(600, until=lambda: len(world.living()) == 1)
    for _ in range(3):  # tasks that arrive too early
        world.spawn(pod)
    assert len(world.living()) == 1
    world.run(600, until=lambda: state(pod) == "booting")
    assert len(world.living()) == 1


@pytest.mark.fault(30)
@pytest.mark.parametrize("status", [401, 503])
def test_nothing_is_created_while_the_list_cannot_be_read(world: World, status: int) -> None:
    world.rig.server.faults.lose_answer("POST", PODS)
    pod = world.spawn(world.requested())
    world.rig.clock.advance(world.provider.capabilities.list_lag.total_seconds() + 1)
    world.rig.server.faults.answer("GET", PODS, reply(status), times=3)
    world.spawn(pod)
    assert (pod.state, len(world.living())) == ("creating", 1)
    world.rig.server.faults.clear()
    world.run(600, until=lambda: state(pod) == "booting")


@pytest.mark.fault(7)
def test_a_machine_that_bills_after_a_refusal_is_destroyed(world: World) -> None:
    create = world.provider.create

    def refuses(spec: PodSpec, *, token: str) -> Machine:
        raise Refused("no", billing_id=create(spec, token=token).external_id)

    with mock.patch.object(world.provider, "create", refuses):
        pod = world.spawn(world.requested())
    assert (pod.state, [pod.external_id]) == ("terminating", world.living())
    world.run(900, until=lambda: state(pod) == "terminated")
    assert world.living() == []


@pytest.mark.fault(2)
def test_a_killed_workers_claim_ends_by_itself(world: World) -> None:
    pod = world.requested()
    claim = lifecycle.claimed(pod.pk)
    with mock.patch("pods.dispatch.Outbox", nullcontext):  # the outbox is lost with the worker
        assert claim.__enter__() is not None
    lease = settings.CLAIM_LEASE.total_seconds()
    world.rig.clock.advance(lease - 1)
    assert world.spawn(pod).state == "requested"
    world.rig.clock.advance(2)
    assert world.spawn(pod).state == "booting"


def test_a_move_that_is_not_in_the_table_is_refused(world: World) -> None:
    pod = world.spawn(world.requested())
    with pytest.raises(IllegalMove):
        lifecycle.move(pod, TERMINATED, by="test", because="x")
    assert state(pod) == "booting"


@pytest.mark.fault(12)
def test_an_id_that_was_stored_is_never_replaced(world: World) -> None:
    pod = world.spawn(world.requested())
    machine = pod.external_id
    with pytest.raises(DuplicateMachine):
        lifecycle.remember(pod, "another")
    assert Pod.objects.get(pk=pod.pk).external_id == machine


@pytest.mark.django_db(transaction=True)
def test_the_next_step_is_sent_when_the_claim_ends_and_it_expires(world: World) -> None:
    pod = world.requested()
    sent: list[tuple[str, Any, float]] = []

    def note(task: str, *, countdown: float, expires: float, **_: Any) -> None:
        sent.append((task, Pod.objects.get(pk=pod.pk).claimed_until, expires - countdown))

    with mock.patch("pods.dispatch.current_app.send_task", note):
        spawning.spawn_pod(pod.pk, connect=world.connect)
    assert sent == [("pods.check", None, 300)]


@pytest.mark.fault(37)
@pytest.mark.parametrize("hidden_from", ["status", "list"])
def test_one_reading_that_lacks_a_machine_proves_nothing(world: World, hidden_from: str) -> None:
    pod = world.booted()
    machine = world.rig.state.pods[str(pod.external_id)]
    in_a_year = clock.utcnow() + timedelta(days=365)
    if hidden_from == "status":
        machine.known_from = in_a_year
    else:
        machine.listed_from = in_a_year
    world.rig.server.faults.answer("DELETE", POD, Reply(status=204), times=500)
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    world.run(600)
    assert (state(pod), len(world.living())) == ("terminating", 1)
    world.rig.server.faults.clear()
    machine.known_from = machine.listed_from = clock.utcnow()
    world.run(1200, until=lambda: state(pod) == "terminated")
    assert world.living() == []


@pytest.mark.fault(9)
def test_a_new_machine_that_no_reading_shows_yet_is_not_proved_gone(world: World) -> None:
    can = world.provider.capabilities
    slow = Capabilities(list_lag=timedelta(minutes=10), consistency_window=can.consistency_window)
    requested_at = clock.utcnow() - timedelta(hours=1)  # its spawn had to wait
    pod = world.spawn(world.requested(requested_at=requested_at))
    machine = world.rig.state.pods[str(pod.external_id)]
    machine.known_from = machine.listed_from = clock.utcnow() + timedelta(minutes=9)
    with mock.patch.object(world.provider, "capabilities", slow):
        world.rig.server.faults.answer("DELETE", POD, reply(404), times=1)
        teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
        world.run(500)
        assert (state(pod), len(world.living())) == ("terminating", 1)
        world.run(1200, until=lambda: state(pod) == "terminated")
    assert world.living() == []


@pytest.mark.fault(37)
def test_an_absence_before_the_end_began_does_not_prove_the_end(world: World) -> None:
    pod = world.booted()
    world.rig.clock.advance(3600)
    Pod.objects.filter(pk=pod.pk).update(absent_since=clock.utcnow() - timedelta(hours=1))
    pod.refresh_from_db()
    world.rig.state.delete(str(pod.external_id))
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    world.work()
    assert state(pod) == "terminating"
    world.run(900, until=lambda: state(pod) == "terminated")


@pytest.mark.fault(45)
def test_redis_down_delays_a_destroy_for_a_short_time_only(world: World) -> None:
    pod = world.booted()
    Pod.objects.filter(pk=pod.pk).update(redis_url="redis://127.0.0.1:1/0")
    pod.refresh_from_db()
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    world.run(60)
    assert len(world.living()) == 1  # it could still publish: the fence comes first
    world.run(200, until=lambda: world.living() == [])


def test_items_of_a_gone_pod_stay_until_others_claim_them(world: World) -> None:
    pod = world.booted()
    world.redis.xgroup_create(BACKLOG, BACKLOG, "0", mkstream=True)
    world.redis.xadd(BACKLOG, {"payload": "x"})
    world.redis.xreadgroup(BACKLOG, pod.name, {BACKLOG: ">"})
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    world.run(900, until=lambda: state(pod) == "terminated")
    assert world.redis.xpending(BACKLOG, BACKLOG)["pending"] == 1


@pytest.mark.fault(29)
def test_a_machine_booked_as_gone_and_seen_again_is_billed_for_the_whole_time(world: World) -> None:
    pod = world.booted()
    machine = world.rig.state.pods[str(pod.external_id)]
    machine.known_from = machine.listed_from = clock.utcnow() + timedelta(days=365)
    until_gone: list[Callable[[], None]] = [world.sweep, lambda: world.rig.clock.advance(200)]
    for act in (*until_gone, world.sweep):
        act()
    booked = PriceSegment.objects.get(pod=pod)
    assert (state(pod), booked.until is None) == ("terminating", False)
    machine.known_from = machine.listed_from = clock.utcnow()
    world.rig.server.faults.answer("DELETE", POD, Reply(status=204), times=500)
    world.run(10)
    booked.refresh_from_db()
    assert booked.until is None


def test_a_machine_booked_as_gone_is_billed_until_the_destroy_that_found_it(world: World) -> None:
    """Found by the seed 40842: the machine was seen again and destroyed in the same step."""
    pod = world.booted()
    machine = world.rig.state.pods[str(pod.external_id)]
    machine.known_from = machine.listed_from = clock.utcnow() + timedelta(days=365)
    world.sweep()
    world.rig.clock.advance(200)
    world.sweep()
    assert PriceSegment.objects.get(pod=pod).until is not None
    world.rig.clock.advance(3600)
    machine.known_from = machine.listed_from = clock.utcnow()
    before = clock.utcnow()
    world.run(900, until=lambda: state(pod) == "lost")
    assert world.living() == []
    booked = PriceSegment.objects.get(pod=pod).until
    assert booked is not None
    assert booked >= before


@pytest.mark.fault(36)
def test_a_destroy_without_effect_does_not_end_the_bill(world: World) -> None:
    """Found by the seed 105823: the answer to the destroy that ended the machine was lost."""
    pod = world.booted()
    world.rig.server.faults.answer("DELETE", POD, reply(404))
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    teardown.teardown_pod(pod.pk, connect=world.connect)
    assert len(world.living()) == 1
    world.rig.clock.advance(3600)
    world.rig.server.faults.lose_answer("DELETE", POD, times=3)
    before = clock.utcnow()
    world.run(900, until=lambda: state(pod) == "terminated")
    booked = PriceSegment.objects.get(pod=pod).until
    assert booked is not None
    assert booked >= before
