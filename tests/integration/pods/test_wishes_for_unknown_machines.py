"""What an operator decides about a machine without a row, and that no kill loses it."""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import pytest
from django.apps import apps

from fleet.models import Fleet
from pods import dispatch, lifecycle, orphans, reconciling
from pods.base import clock
from pods.emulators.base import Reply
from pods.models import Account, Installation, Orphan, Pod, PodEvent
from pods.rules import MachineOutcome
from pods.states import READY
from tests.support.factories import a_pod, an_account
from tests.support.rigs.runpod_rig import POD
from tests.support.world import World, reply, state

pytestmark = pytest.mark.django_db
ADOPT, DESTROY = Account.Orphans.ADOPT, Account.Orphans.DESTROY


class Killed(BaseException):
    """The worker's process ended here."""


def a_machine(world: World, name: str) -> Orphan:
    """A machine of ours without a row, which was seen for longer than a spawn may need."""
    request = {"gpu": {"id": world.rig.state.catalog[0].id, "count": 1}, "image": "i", "env": {}}
    world.rig.state.create({**request, "name": name})
    Account.objects.update(orphans=ADOPT)
    world.account.refresh_from_db()
    world.reconcile()
    world.rig.clock.advance(600)
    return Orphan.objects.get()


def of_a_fleet(world: World) -> Orphan:
    return a_machine(world, f"{world.tag}-{'ab' * 16}")


def of_no_fleet(world: World) -> Orphan:
    return a_machine(world, f"{Installation.tag()}-{'9' * 9}-{'ab' * 16}")


def killed(where: Any, name: str, monkeypatch: pytest.MonkeyPatch, *, after: bool) -> None:
    """End the process just before or just after one call."""
    call: Callable[..., Any] = getattr(where, name)

    def dies(*args: Any, **values: Any) -> Any:
        if after:
            call(*args, **values)
        raise Killed

    monkeypatch.setattr(where, name, dies)


def test_the_wish_of_an_operator_comes_before_what_the_account_says(world: World) -> None:
    a_pod(world.fleet, READY)
    orphan = of_a_fleet(world)
    assert orphans.decide(orphan.pk, DESTROY, by="admin:ann")
    assert world.reconcile().destroyed == [orphan.external_id]
    pod = Pod.objects.get(external_id=orphan.external_id)
    assert (pod.state, pod.retire_rule) == ("terminating", "orphan")
    assert PodEvent.objects.filter(pod=pod).earliest("pk").by == "admin:ann"
    world.run(900, until=lambda: state(pod) == "terminated")
    assert orphan.external_id not in world.living()


def test_an_operator_adopts_where_the_account_says_destroy(world: World) -> None:
    a_pod(world.fleet, READY)
    orphan = of_a_fleet(world)
    Account.objects.update(orphans=DESTROY)
    world.account.refresh_from_db()
    assert orphans.decide(orphan.pk, ADOPT, by="admin:ann")
    assert world.reconcile().adopted == [orphan.external_id]
    assert not orphans.decide(orphan.pk, DESTROY, by="admin:ann")
    assert (Orphan.objects.get().wish, Orphan.objects.get().outcome_kind) == ("adopt", "adopted")


def test_a_machine_that_cannot_be_adopted_is_not_destroyed_instead(world: World) -> None:
    orphan = of_a_fleet(world)  # its fleet never had a pod whose settings it could take
    orphans.decide(orphan.pk, ADOPT, by="admin:ann")
    done = world.reconcile()
    assert (done.adopted, done.destroyed) == ([], [])
    assert Orphan.objects.get().outcome_kind == MachineOutcome.NOT_ADOPTED
    a_pod(world.fleet, READY)
    Fleet.objects.update(archived_at=clock.utcnow())
    assert world.reconcile().destroyed == []
    orphans.decide(orphan.pk, DESTROY, by="admin:ann")
    assert (Orphan.objects.get().outcome, Orphan.objects.get().outcome_kind) == ("", "")
    assert world.reconcile().destroyed == [orphan.external_id]


def test_a_machine_of_no_fleet_cannot_be_adopted_and_says_so(world: World) -> None:
    orphan = of_no_fleet(world)
    orphans.decide(orphan.pk, ADOPT, by="admin:ann")
    world.reconcile()
    assert Orphan.objects.get().outcome == "cannot be adopted: its fleet is not here"
    assert world.living() == [orphan.external_id]


def test_a_wish_waits_until_no_spawn_could_store_the_machines_id(world: World) -> None:
    orphan = of_no_fleet(world)
    Orphan.objects.update(first_seen_at=clock.utcnow())
    orphans.decide(orphan.pk, DESTROY, by="admin:ann")
    assert world.reconcile().destroyed == []
    world.rig.clock.advance(600)
    assert world.reconcile().destroyed == [orphan.external_id]


def test_a_refused_destroy_says_why_and_is_tried_again(world: World) -> None:
    orphan = of_no_fleet(world)
    orphans.decide(orphan.pk, DESTROY, by="admin:ann")
    world.rig.server.faults.answer("DELETE", POD, reply(503), times=20)
    assert world.reconcile().destroyed == []
    assert Orphan.objects.get().outcome_kind == MachineOutcome.DESTROY_FAILED
    world.rig.server.faults.clear()
    assert world.reconcile().destroyed == [orphan.external_id]
    assert Orphan.objects.get().outcome_kind == MachineOutcome.DESTROY_ASKED
    world.rig.clock.advance(600)
    world.reconcile()
    assert Orphan.objects.get().gone_at is not None
    assert Orphan.objects.get().outcome_kind == MachineOutcome.GONE


def test_a_destroy_without_effect_is_asked_for_again(world: World) -> None:
    orphan = of_no_fleet(world)
    orphans.decide(orphan.pk, DESTROY, by="admin:ann")
    world.rig.server.faults.answer("DELETE", POD, Reply(status=204), times=2)
    for _ in range(3):
        assert Orphan.objects.get().gone_at is None
        world.reconcile()
    assert orphan.external_id not in world.living()


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_around_the_vendors_call_is_made_good_by_the_next_reconciliation(
    world: World, monkeypatch: pytest.MonkeyPatch, *, after: bool
) -> None:
    orphan = of_no_fleet(world)
    orphans.decide(orphan.pk, DESTROY, by="admin:ann")
    with monkeypatch.context() as patch:
        killed(world.provider, "destroy", patch, after=after)
        with pytest.raises(Killed):
            world.reconcile()
    world.rig.clock.advance(600)
    world.reconcile()
    world.rig.clock.advance(600)
    world.reconcile()
    assert orphan.external_id not in world.living()
    assert Orphan.objects.get().gone_at is not None


@pytest.mark.parametrize("wish", [ADOPT, DESTROY])
@pytest.mark.parametrize(
    ("where", "name"), [(lifecycle, "insert"), (dispatch, "next_step"), (dispatch, "send")]
)
@pytest.mark.parametrize("after", [False, True])
def test_a_kill_while_its_row_is_made_leaves_one_row_and_does_the_wish(
    world: World, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, wish: Any, *, after: bool
) -> None:
    a_pod(world.fleet, READY)
    orphan = of_a_fleet(world)
    with monkeypatch.context() as patch:
        killed(where, name, patch, after=after)
        try:
            orphans.decide(orphan.pk, wish, by="admin:ann")
            world.reconcile()
        except Killed:
            pass
    world.rig.clock.advance(60)
    world.reconcile()
    pod = Pod.objects.get(external_id=orphan.external_id)
    assert Orphan.objects.get().gone_at is not None
    if wish == DESTROY:
        world.run(900, until=lambda: state(pod) == "terminated")
        assert orphan.external_id not in world.living()
    else:
        assert pod.state == "booting"
        assert orphan.external_id in world.living()


def test_a_wish_that_comes_while_the_row_is_made_is_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    a_pod(world.fleet, READY)
    orphan = of_a_fleet(world)  # its account adopts
    made = reconciling.pod_of_machine

    def meanwhile(*args: Any, **values: Any) -> Pod:
        if not Orphan.objects.get().wish:
            orphans.decide(orphan.pk, DESTROY, by="admin:ann")
        return made(*args, **values)

    monkeypatch.setattr(reconciling, "pod_of_machine", meanwhile)
    done = world.reconcile()
    assert (done.adopted, done.destroyed) == ([], [])
    assert world.reconcile().destroyed == [orphan.external_id]


def test_the_wish_for_a_machine_that_went_and_comes_back_is_no_wish_any_more(
    world: World,
) -> None:
    orphan = of_no_fleet(world)
    orphans.decide(orphan.pk, DESTROY, by="admin:ann")
    Orphan.objects.update(gone_at=clock.utcnow())
    world.reconcile()
    back = Orphan.objects.get()
    assert (back.gone_at, back.wish, back.wished_by) == (None, "", "")
    world.rig.clock.advance(600)
    assert world.reconcile().destroyed == []
    assert world.living() == [orphan.external_id]


def test_a_reconciliation_says_when_it_compared_an_account(world: World) -> None:
    world.reconcile()
    world.account.refresh_from_db()
    assert world.account.reconciled_at == clock.utcnow()


@pytest.mark.parametrize(
    ("kind", "gone", "wish", "outcome"),
    [
        ("", False, "adopt", ""),
        ("adopted", True, "", "adopted"),
        ("ending", True, "destroy", "has a row now, will be destroyed"),
        ("gone", True, "destroy", "gone, or has a row"),
        ("not_adopted", False, "adopt", "cannot be adopted: its fleet is not here"),
        ("destroy_failed", False, "", "destroy: no answer"),
        ("destroy_asked", False, "destroy", "the vendor was asked to destroy it"),
    ],
)
def test_the_rows_of_older_versions_get_the_value_of_their_text(
    kind: str, wish: str, outcome: str, *, gone: bool
) -> None:
    now = clock.utcnow()
    Orphan.objects.create(
        account=an_account(), external_id="m", name="pf-1", first_seen_at=now, last_seen_at=now,
        gone_at=now if gone else None, wish=wish, outcome=outcome,
    )  # fmt: skip
    import_module("pods.migrations.0018_outcomes_of_unknown_machines").fill(apps, None)
    assert Orphan.objects.get().outcome_kind == kind
