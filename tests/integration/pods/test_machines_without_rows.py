"""Machines without a living row: what is waited for, and what is left alone."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from unittest import mock

import pytest

from pods import teardown
from pods.base import clock
from pods.emulators.base import Reply
from pods.models import Account, Installation, Orphan, Pod, PodEvent, PriceSegment
from pods.reconciling import SIGHTINGS_APART, Reconciled
from pods.rules import PodRule
from pods.states import REQUESTED, TERMINATED, TERMINATING
from tests.support.factories import a_fleet, a_pod, an_account
from tests.support.rigs.runpod_rig import POD, PODS
from tests.support.world import World, reply, state

pytestmark = pytest.mark.django_db


def a_machine(world: World, name: str) -> str:
    """The id of a machine that was made at the vendor and not by this manager."""
    request = {"gpu": {"id": world.rig.state.catalog[0].id, "count": 1}, "image": "i", "env": {}}
    return world.rig.state.create({**request, "name": name}).id


def without_a_row(world: World) -> str:
    return a_machine(world, f"{world.tag}-{'ab' * 16}")


def of_no_fleet(world: World) -> str:
    return a_machine(world, f"{Installation.tag()}-{'9' * 9}-{'ab' * 16}")


def window(world: World) -> timedelta:
    """How long a machine must be seen without a row before anything is done."""
    can = world.provider.capabilities
    assert can.consistency_window > SIGHTINGS_APART
    return max(can.consistency_window, can.list_lag)


@pytest.mark.parametrize(("orphans", "lives"), [("adopt", True), ("destroy", False)])
def test_a_machine_of_a_fleet_that_is_not_here_is_destroyed_only_where_the_operator_chose_that(
    world: World, orphans: str, *, lives: bool
) -> None:
    Account.objects.update(orphans=orphans)
    world.account.refresh_from_db()
    machine = of_no_fleet(world)
    for _ in range(3):
        world.reconcile()
        world.rig.clock.advance(300)
    assert (machine in world.living()) is lives


def test_a_machine_without_a_row_is_left_alone_until_the_vendors_window_has_passed(
    world: World,
) -> None:
    machine = without_a_row(world)
    world.reconcile()
    world.rig.clock.advance((window(world) - timedelta(seconds=1)).total_seconds())
    assert world.reconcile().destroyed == []
    world.rig.clock.advance(1)
    assert world.reconcile().destroyed == [machine]


@pytest.mark.parametrize("part", ["consistency_window", "list_lag"])
def test_each_part_of_the_vendors_window_is_waited_for(world: World, part: str) -> None:
    zero = {"consistency_window": timedelta(0), "list_lag": timedelta(0)}
    slow = replace(world.provider.capabilities, **{**zero, part: timedelta(minutes=10)})
    without_a_row(world)
    with mock.patch.object(world.provider, "capabilities", slow):
        world.reconcile()
        world.rig.clock.advance(599)
        assert world.reconcile().destroyed == []
        world.rig.clock.advance(1)
        assert len(world.reconcile().destroyed) == 1


def test_a_row_that_has_just_ended_is_not_reopened_by_a_list_that_was_read_before(
    world: World,
) -> None:
    pod = world.booted()
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    world.run(900, until=lambda: state(pod) == "terminated")
    back = world.rig.state.pods[str(pod.external_id)]
    back.halted, back.listed_until = None, None
    Pod.objects.filter(pk=pod.pk).update(ended_at=clock.utcnow())
    assert world.reconcile().resurrected == []
    world.rig.clock.advance((SIGHTINGS_APART - timedelta(seconds=1)).total_seconds())
    assert world.reconcile().resurrected == []
    assert state(pod) == "terminated"
    world.rig.clock.advance(1)
    assert world.reconcile().resurrected == [pod.external_id]


def test_an_ended_machine_in_the_list_is_neither_an_orphan_nor_a_reason_to_reopen_a_row(
    world: World,
) -> None:
    pod = world.booted()
    ended = without_a_row(world)
    world.rig.state.linger, world.rig.state.shows_ended = 10**7, True
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    world.run(900, until=lambda: state(pod) == "terminated")
    world.rig.state.delete(ended)
    for _ in range(2):
        world.rig.clock.advance(600)
        assert world.reconcile().resurrected == []
    assert not Orphan.objects.exists()
    assert state(pod) == "terminated"


def test_a_gone_machine_is_not_found_by_its_token(world: World) -> None:
    world.rig.state.linger, world.rig.state.shows_ended = 10**7, True
    world.rig.server.faults.lose_answer("POST", PODS)
    pod = world.spawn(world.requested())
    [first] = world.living()
    world.rig.state.delete(first)
    world.run(600, until=lambda: state(pod) == "booting")
    pod.refresh_from_db()
    assert world.living() == [pod.external_id]
    assert pod.external_id != first


def test_a_machine_that_was_handled_and_comes_back_is_watched_for_the_whole_window_again(
    world: World,
) -> None:
    machine = of_no_fleet(world)
    world.reconcile()
    known = world.rig.state.pods[machine]
    known.listed_from = clock.utcnow() + timedelta(hours=1)
    world.rig.clock.advance(1800)
    world.reconcile()
    assert Orphan.objects.get().gone_at == clock.utcnow()
    world.rig.clock.advance(1800)
    assert world.reconcile().destroyed == []
    orphan = Orphan.objects.get()
    assert (orphan.first_seen_at, orphan.gone_at, orphan.outcome) == (clock.utcnow(), None, "")
    world.rig.clock.advance(window(world).total_seconds())
    assert world.reconcile().destroyed == [machine]


def test_an_orphan_that_was_handled_keeps_the_time_at_which_it_was_first_gone(
    world: World,
) -> None:
    machine = of_no_fleet(world)
    world.reconcile()
    world.rig.state.delete(machine)
    world.rig.clock.advance(600)
    world.reconcile()
    gone_at = Orphan.objects.get().gone_at
    world.rig.clock.advance(600)
    world.reconcile()
    assert Orphan.objects.get().gone_at == gone_at is not None


def test_a_reconciliation_of_one_account_does_not_end_the_orphans_of_another(
    world: World,
) -> None:
    other = an_account("runpod", name="other")
    now = clock.utcnow()
    Orphan.objects.create(account=other, external_id="m1", first_seen_at=now, last_seen_at=now)
    world.reconcile()
    assert Orphan.objects.get().gone_at is None


def test_a_machine_whose_destroy_fails_is_tried_again_and_says_why(world: World) -> None:
    machine = of_no_fleet(world)
    world.reconcile()
    now, other = clock.utcnow(), an_account("runpod", name="other")
    for account, external_id in ((other, machine), (world.account, "another")):
        Orphan.objects.create(
            account=account, external_id=external_id, first_seen_at=now, last_seen_at=now
        )
    world.rig.clock.advance(600)
    world.rig.server.faults.answer("DELETE", POD, reply(503), times=20)
    assert world.reconcile().destroyed == []
    said = Orphan.objects.exclude(outcome="").exclude(outcome="gone, or has a row").get()
    assert (said.account, said.external_id) == (world.account, machine)
    assert said.outcome.startswith("destroy: ")
    world.rig.server.faults.clear()
    assert world.reconcile().destroyed == [machine]


def test_a_machine_whose_id_another_vendor_gave_too_is_not_taken_for_its_pod(world: World) -> None:
    machine = without_a_row(world)
    a_pod(account=an_account("vastai"), state=TERMINATED, external_id=machine)
    world.reconcile()
    assert Orphan.objects.get().external_id == machine


def test_a_second_machine_of_a_token_gets_a_row_that_ends_it(world: World) -> None:
    Account.objects.update(orphans="adopt")
    world.account.refresh_from_db()
    pod = world.booted()
    twin = a_machine(world, pod.name)
    world.reconcile()
    world.rig.clock.advance(600)
    done = world.reconcile()
    assert (done.adopted, done.destroyed) == ([], [twin])
    world.run(900, until=lambda: world.living() == [pod.external_id])


def test_a_machine_that_got_its_row_meanwhile_gets_no_second_one(world: World) -> None:
    machine = without_a_row(world)
    world.reconcile()
    world.rig.clock.advance(600)
    world.rig.server.faults.answer("DELETE", POD, Reply(status=204), times=50)
    assert world.reconcile().destroyed == [machine]
    assert world.reconcile().destroyed == []
    assert Pod.objects.filter(external_id=machine).count() == 1


@pytest.mark.parametrize("adopts", [True, False])
def test_only_the_orphan_that_got_a_row_is_written_off(world: World, *, adopts: bool) -> None:
    Account.objects.update(orphans="adopt" if adopts else "destroy")
    world.account.refresh_from_db()
    world.booted()
    machine = without_a_row(world)
    world.reconcile()
    world.rig.clock.advance(600)
    now, other = clock.utcnow(), an_account("runpod", name="other")
    Orphan.objects.create(account=other, external_id=machine, first_seen_at=now, last_seen_at=now)
    world.reconcile()
    row = Orphan.objects.get(account=world.account)
    assert row.outcome == ("adopted" if adopts else "has a row now, will be destroyed")
    assert Orphan.objects.get(account=other).gone_at is None
    pod = Pod.objects.get(external_id=machine)
    event = PodEvent.objects.filter(pod=pod).earliest("pk")
    said = (pod.state, pod.retire_rule, pod.retire_because, event.rule, event.because)
    if adopts:
        assert said == ("booting", "", "", "adopted", "found without a row: adopted")
        assert pod.due_at is None
    else:
        why = "a machine without a row"
        assert said == ("terminating", "orphan", why, "orphan", "found without a row: destroyed")


def test_an_ended_row_that_does_not_say_when_it_ended_is_reopened(world: World) -> None:
    machine = without_a_row(world)
    pod = a_pod(world.fleet, TERMINATED, external_id=machine, ended_at=None)
    assert world.reconcile().resurrected == [machine]
    assert state(pod) == "terminating"


def test_a_machine_without_a_time_of_its_creation_counts_from_now_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine, list_tagged = without_a_row(world), world.provider.list_tagged
    monkeypatch.setattr(
        world.provider,
        "list_tagged",
        lambda tag: [replace(found, created_at=None) for found in list_tagged(tag)],
    )
    world.reconcile()
    world.rig.clock.advance(600)
    world.reconcile()
    pod = Pod.objects.get(external_id=machine)
    assert (pod.requested_at, pod.asked_at) == (clock.utcnow(), clock.utcnow())


def test_an_ended_row_that_was_never_booked_is_booked_from_now_on_if_nobody_knows_since_when(
    world: World,
) -> None:
    machine = without_a_row(world)
    pod = a_pod(world.fleet, TERMINATED, external_id=machine, asked_at=None)
    PriceSegment.objects.all().delete()
    world.rig.clock.advance(600)
    world.reconcile()
    assert PriceSegment.objects.get(pod=pod).since == clock.utcnow()


def test_the_end_of_a_row_that_does_not_say_when_it_was_asked_for_is_proved_too(
    world: World,
) -> None:
    pod = a_pod(world.fleet, TERMINATING, asked_at=None)
    world.run(900, until=lambda: state(pod) == "terminated")


def adopting(world: World) -> None:
    Account.objects.update(orphans="adopt")
    world.account.refresh_from_db()


def reconciled_twice(world: World) -> Reconciled:
    world.reconcile()
    world.rig.clock.advance(600)
    return world.reconcile()


def test_a_pod_that_waits_for_its_machine_does_not_stop_a_reconciliation(world: World) -> None:
    a_pod(world.fleet, REQUESTED)
    machine = without_a_row(world)
    assert reconciled_twice(world).destroyed == [machine]


def test_a_machine_of_another_installation_is_of_no_fleet_of_ours(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_a_row(world)
    list_tagged, name = world.provider.list_tagged, f"pf-zzzzzz-{world.fleet.pk}-{'ab' * 16}"
    monkeypatch.setattr(
        world.provider,
        "list_tagged",
        lambda tag: [replace(found, name=name) for found in list_tagged(tag)],
    )
    world.reconcile()
    assert Orphan.objects.get().fleet_id is None


def test_the_row_of_a_machine_copies_the_newest_pod_of_its_own_fleet(world: World) -> None:
    a_pod(world.fleet, boot_seconds=111)
    a_pod(world.fleet, boot_seconds=222)
    other = a_fleet(accounts=[world.account], name="other", stream="s", group="g")
    a_pod(other, boot_seconds=333)
    machine = without_a_row(world)
    reconciled_twice(world)
    assert Pod.objects.get(external_id=machine).boot_seconds == 222


@pytest.mark.parametrize(("said", "usd"), [(Decimal("0.01"), "0.01"), (None, "0.34")])
def test_an_adopted_machine_costs_when_stopped_what_the_vendor_says_or_else_its_whole_price(
    world: World, monkeypatch: pytest.MonkeyPatch, said: Decimal | None, usd: str
) -> None:
    adopting(world)
    a_pod(world.fleet)
    machine, list_tagged = without_a_row(world), world.provider.list_tagged
    prices = {"hourly_usd": Decimal("0.34"), "stopped_hourly_usd": said}
    monkeypatch.setattr(
        world.provider, "list_tagged", lambda tag: [replace(m, **prices) for m in list_tagged(tag)]
    )
    reconciled_twice(world)
    assert Pod.objects.get(external_id=machine).stopped_hourly_usd == Decimal(usd)


def test_a_machine_whose_name_has_no_token_is_not_adopted(world: World) -> None:
    adopting(world)
    a_pod(world.fleet)
    machine = a_machine(world, f"{world.tag}-x")
    done = reconciled_twice(world)
    assert (done.adopted, done.destroyed) == ([], [machine])


def test_the_first_machine_of_a_fleet_is_not_adopted_if_no_pod_says_what_it_runs(
    world: World,
) -> None:
    adopting(world)
    machine = without_a_row(world)
    done = reconciled_twice(world)
    assert (done.adopted, done.destroyed) == ([], [machine])
