"""The creation of a pod while the process dies or the vendor fails at any line."""

import contextlib
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import connection

from pods import lifecycle, spawning, tasks, teardown
from pods.base import clock
from pods.emulators.base import Reply
from pods.models import Account, Pod, PriceSegment
from pods.providers.base import Machine, PodSpec
from pods.providers.errors import Unavailable
from pods.rules import PodRule
from pods.states import BOOTING, PodState
from tests.support.factories import a_pod
from tests.support.rigs.runpod_rig import PODS
from tests.support.waiting import patience
from tests.support.world import World, state

pytestmark = pytest.mark.django_db


class Killed(BaseException):
    """The process dies here."""


def test_a_requested_pod_is_created_once_and_boots(world: World) -> None:
    pod = world.spawn(world.requested())
    assert pod.state == "booting"
    assert world.living() == [pod.external_id]
    world.spawn(pod)
    assert len(world.living()) == 1


@pytest.mark.fault(1)
def test_the_step_of_a_row_whose_message_was_lost_is_sent_again(
    world: World, django_capture_on_commit_callbacks: Any
) -> None:
    pod = world.requested()
    with (
        mock.patch("pods.dispatch.current_app.send_task") as sent,
        django_capture_on_commit_callbacks(execute=True),
    ):
        tasks.nudge()
        assert not sent.called
        world.rig.clock.advance(11)
        tasks.nudge()
    assert [call.args[0] for call in sent.call_args_list] == ["pods.spawn"]
    assert sent.call_args.kwargs["args"] == (pod.pk,)


@pytest.mark.fault(2)
def test_a_worker_killed_before_the_create_call_leads_to_one_machine_later(world: World) -> None:
    pod = world.requested()
    with (
        mock.patch.object(world.provider, "create", side_effect=Killed),
        pytest.raises(Killed),
    ):
        world.spawn(pod)
    pod.refresh_from_db()
    assert (pod.state, world.living()) == ("creating", [])
    # after a real kill the claim would end by itself
    world.run(400, until=lambda: Pod.objects.get(pk=pod.pk).state == "booting")
    assert len(world.living()) == 1


@pytest.mark.fault(15)
@pytest.mark.fault(44)
def test_a_spawn_that_stood_still_after_its_look_creates_no_second_machine(world: World) -> None:
    pod, looks = world.requested(), 0
    look = world.provider.list_tagged

    def slow(tag: str) -> Any:
        nonlocal looks
        found, looks = look(tag), looks + 1
        if looks == 1:  # longer than its claim, while another worker creates the machine
            world.rig.clock.advance(3600)
            spawning.spawn_pod(pod.pk, connect=world.connect)
        return found

    with mock.patch.object(world.provider, "list_tagged", slow):
        world.spawn(pod)
    assert looks == 2
    assert world.living() == [pod.external_id]
    assert pod.state == "booting"


@pytest.mark.fault(3)
@pytest.mark.parametrize("list_lag", [0, 60])
def test_after_a_kill_before_the_id_is_stored_the_machine_is_found_again(
    world: World, list_lag: int
) -> None:
    world.rig.state.list_lag = list_lag
    pod = world.requested()
    with mock.patch.object(lifecycle, "remember", side_effect=Killed), pytest.raises(Killed):
        world.spawn(pod)
    pod.refresh_from_db()
    assert pod.external_id is None
    assert len(world.living()) == 1
    world.run(400, until=lambda: Pod.objects.get(pk=pod.pk).state == "booting")
    pod.refresh_from_db()
    assert world.living() == [pod.external_id]


@pytest.mark.fault(3)
@pytest.mark.fault(26)
def test_after_a_kill_when_the_id_is_stored_no_second_machine_is_created(world: World) -> None:
    pod = world.requested()
    real = lifecycle.move

    def dies(row: Pod, to: PodState, **facts: Any) -> None:
        if to is BOOTING:
            raise Killed
        real(row, to, **facts)

    with mock.patch.object(lifecycle, "move", dies), pytest.raises(Killed):
        world.spawn(pod)
    (machine,) = world.living()
    world.rig.state.vanish(machine)
    world.run(400, until=lambda: Pod.objects.get(pk=pod.pk).state == "booting")
    assert Pod.objects.get(pk=pod.pk).external_id == machine
    assert world.living() == []


@pytest.mark.fault(4)
def test_a_lost_answer_bills_one_pod(world: World) -> None:
    world.rig.server.faults.lose_answer("POST", PODS)
    pod = world.spawn(world.requested())
    assert (pod.state, pod.external_id) == ("creating", None)
    world.run(400, until=lambda: Pod.objects.get(pk=pod.pk).state == "booting")
    assert len(world.living()) == 1
    assert world.rig.server.calls("POST", PODS) == 1


@pytest.mark.fault(5)
def test_a_lost_request_is_repeated_only_after_the_list_proves_that_no_machine_exists(
    world: World,
) -> None:
    world.rig.server.faults.lose_request("POST", PODS)
    pod = world.spawn(world.requested())
    asked = clock.utcnow()
    world.run(400, until=lambda: Pod.objects.get(pk=pod.pk).state == "booting")
    assert clock.utcnow() - asked >= world.provider.capabilities.list_lag
    assert len(world.living()) == 1


@pytest.mark.fault(6)
def test_a_server_error_after_creating_is_not_a_failure(world: World) -> None:
    world.rig.server.faults.answer_after(
        "POST",
        PODS,
        Reply(
            status=500,
            json={"title": "oops", "status": 500},
            content_type="application/problem+json",
        ),
    )
    pod = world.spawn(world.requested())
    assert pod.state == "creating"
    world.run(400, until=lambda: Pod.objects.get(pk=pod.pk).state == "booting")
    assert len(world.living()) == 1


@pytest.mark.fault(9)
def test_a_machine_that_the_list_lacks_for_a_while_is_not_created_twice(world: World) -> None:
    world.rig.state.list_lag = world.rig.state.get_lag = 60
    world.rig.server.faults.lose_answer("POST", PODS)
    pod = world.spawn(world.requested())
    world.run(600, until=lambda: Pod.objects.get(pk=pod.pk).state == "booting")
    assert len(world.living()) == 1
    world.run(300)
    world.sweep()
    assert Pod.objects.get(pk=pod.pk).state in {"booting", "ready"}


@pytest.mark.fault(8)
@pytest.mark.fault(15)
def test_two_deliveries_at_once_create_one_machine(world: World) -> None:
    pod = world.requested()
    with lifecycle.claimed(pod.pk) as first:
        assert first is not None
        spawning.spawn_pod(pod.pk, connect=world.connect)  # the second delivery
        assert world.living() == []
    world.spawn(pod)
    assert len(world.living()) == 1


@pytest.mark.fault(44)
def test_a_worker_frozen_past_its_claim_overwrites_nothing(world: World) -> None:
    pod = world.requested()
    real_create = world.provider.create

    def frozen(spec: PodSpec, *, token: str) -> Machine:
        machine = real_create(spec, token=token)
        world.rig.clock.advance(
            1000
        )  # while it stands still, its claim ends and a second worker acts
        with mock.patch.object(world.provider, "create", real_create):
            spawning.spawn_pod(pod.pk, connect=world.connect)
        return machine

    with mock.patch.object(world.provider, "create", frozen):
        spawning.spawn_pod(pod.pk, connect=world.connect)
    pod.refresh_from_db()
    assert pod.state == "booting"
    assert world.living() == [pod.external_id]


@pytest.mark.fault(10)
def test_no_capacity_is_a_failure_with_its_reason_and_costs_nothing(world: World) -> None:
    gone = {
        "title": "Bad Request",
        "status": 400,
        "detail": "There are no longer any instances available with the requested specifications.",
    }
    world.rig.server.faults.answer(
        "POST", PODS, Reply(status=400, json=gone, content_type="application/problem+json")
    )
    pod = world.spawn(world.requested())
    assert pod.state == "failed"
    assert "no longer any instances" in pod.because
    assert not PriceSegment.objects.filter(pod=pod).exists()
    world.account.refresh_from_db()
    assert (world.account.open_until, world.account.failures) == (None, 0)


@pytest.mark.fault(49)
def test_an_account_with_a_refused_key_is_left_alone_at_once(world: World) -> None:
    pod = world.requested()
    refused = {"title": "Unauthorized", "status": 401, "detail": "missing bearer token"}
    world.rig.server.faults.answer(
        "", ".*", Reply(status=401, json=refused, content_type="application/problem+json"), times=5
    )
    world.spawn(pod)
    world.account.refresh_from_db()
    assert world.account.open_until is not None
    assert "AuthFailed" in world.account.last_error
    assert pod.state == "creating"  # the list was refused, which says nothing about a machine
    world.rig.server.faults.clear()
    world.run(600, until=lambda: Pod.objects.get(pk=pod.pk).state == "booting")


@pytest.mark.fault(12)
def test_an_id_that_another_row_holds_is_not_stored_twice(world: World) -> None:
    first = world.spawn(world.requested())
    second = world.requested()
    machine = world.provider.status(str(first.external_id))
    with mock.patch.object(world.provider, "create", return_value=machine):
        world.spawn(second)
    second.refresh_from_db()
    assert (second.state, second.external_id) == ("failed", None)


@pytest.mark.fault(9)
@pytest.mark.parametrize("error", [KeyError("price"), Killed(), Unavailable("x")])
def test_a_create_that_never_answers_and_is_never_listed_is_tried_a_few_times_only(
    world: World, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    pod, asked = world.requested(), []

    def broken(spec: PodSpec, **_: Any) -> Machine:
        asked.append(spec.name)
        raise error

    monkeypatch.setattr(world.provider, "create", broken)
    for _ in range(40):
        with contextlib.suppress(KeyError, Killed):
            world.work()
        world.rig.clock.advance(300)
    assert (state(pod), len(asked)) == ("failed", spawning.TRIES)


@pytest.mark.fault(13)
def test_an_unwanted_pod_ends_whatever_step_its_spawn_has_reached(world: World) -> None:
    never_asked = world.requested()
    assert teardown.retire_pod(never_asked, by="test", rule=PodRule.OPERATOR, because="paused")
    assert never_asked.state == "failed"
    world.rig.server.faults.lose_answer("POST", PODS)
    open_answer = world.spawn(world.requested())
    assert teardown.retire_pod(open_answer, by="test", rule=PodRule.OPERATOR, because="paused")
    assert not teardown.retire_pod(open_answer, by="test", rule=PodRule.OPERATOR, because="again")
    world.run(900, until=lambda: not Pod.objects.billable().exists())
    assert world.living() == []
    assert Pod.objects.get(pk=open_answer.pk).state == "terminated"


@pytest.mark.fault(14)
def test_a_second_machine_with_the_same_token_is_found_and_destroyed(world: World) -> None:
    pod = world.spawn(world.requested())
    twin = {**world.rig.state.pods[str(pod.external_id)].request}
    world.rig.state.create(twin)
    assert len(world.living()) == 2
    world.reconcile()
    world.rig.clock.advance(300)
    world.reconcile()
    world.run(900, until=lambda: world.living() == [pod.external_id])
    assert Pod.objects.get(pk=pod.pk).state == "booting"


def test_the_price_counts_from_the_moment_the_provider_is_asked(world: World) -> None:
    world.rig.server.faults.lose_answer("POST", PODS)
    pod = world.spawn(world.requested())
    segment = PriceSegment.objects.get(pod=pod)
    assert segment.hourly_usd == pod.hourly_usd
    assert segment.cost_usd(clock.utcnow() + timedelta(hours=1)) == pod.hourly_usd


@pytest.mark.django_db(transaction=True)
@pytest.mark.fault(8)
def test_only_one_of_many_simultaneous_claims_succeeds(redis_url: str) -> None:
    pod = a_pod()
    given: list[int] = []
    start, others = threading.Barrier(4), threading.Semaphore(0)

    def claim() -> None:
        start.wait()
        with lifecycle.claimed(pod.pk) as mine:
            if mine is None:
                others.release()
            else:
                given.append(mine.claim)
                for _ in range(3):  # held until each of the others has tried
                    others.acquire(timeout=patience(10))
        connection.close()

    threads = [threading.Thread(target=claim) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(given) == 1


def disable(world: World) -> None:
    Account.objects.filter(pk=world.account.pk).update(enabled=False)


def leave_alone(world: World) -> None:
    until = clock.utcnow() + timedelta(minutes=10)
    Account.objects.filter(pk=world.account.pk).update(open_until=until)


CLOSINGS = pytest.mark.parametrize(
    ("close", "says"),
    [(disable, "is disabled"), (leave_alone, "is left alone")],
    ids=["disabled", "breaker open"],
)


@CLOSINGS
def test_a_pod_whose_account_was_closed_after_the_tick_is_not_asked_for(
    world: World, close: Callable[[World], None], says: str
) -> None:
    pod = world.requested()
    close(world)
    before = world.rig.server.calls()
    world.spawn(pod)
    assert (pod.state, pod.retire_rule, pod.asked_at) == ("failed", "cannot_connect", None)
    assert says in pod.because
    assert world.rig.server.calls() == before  # it is not even asked for a list
    assert not PriceSegment.objects.filter(pod=pod, until=None).exists()


@CLOSINGS
def test_a_pod_whose_account_is_closed_while_the_vendor_is_slow_is_not_created(
    world: World, close: Callable[[World], None], says: str
) -> None:
    pod, look = world.requested(), world.provider.list_tagged

    def slow(tag: str) -> Any:
        close(world)
        return look(tag)

    with mock.patch.object(world.provider, "list_tagged", slow):
        world.spawn(pod)
    assert pod.state == "failed"
    assert says in pod.because
    assert world.living() == []


@CLOSINGS
def test_a_machine_whose_answer_was_lost_is_found_although_its_account_was_closed(
    world: World, close: Callable[[World], None], says: str
) -> None:
    world.rig.server.faults.lose_answer("POST", PODS)
    pod = world.spawn(world.requested())
    assert pod.state == "creating"
    close(world)
    world.run(400, until=lambda: Pod.objects.get(pk=pod.pk).state == "booting")
    assert world.living() == [Pod.objects.get(pk=pod.pk).external_id]
