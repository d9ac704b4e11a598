"""What a reconciliation writes for each machine in the list, by its row and its name."""

import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fleet.models import Fleet
from fleet.tick import requesting
from pods import reconciling
from pods.emulators.base import SteppedClock
from pods.models import Account, Installation, Orphan, Pod, PodEvent, PriceSegment
from pods.providers.base import Machine, Phase
from pods.providers.errors import ProviderError, Unavailable
from pods.reconciling import Reconciled
from pods.rules import MachineOutcome
from pods.states import CREATING, READY, TERMINATED, TERMINATING
from tests.support.factories import NOON, a_fleet, a_pod, an_account
from tests.support.fixtures import time as time
from tests.support.one_machine import OneMachine

pytestmark = pytest.mark.django_db
TOKEN = uuid.UUID("ab" * 16)
A_WHILE = timedelta(hours=1)


def found(fleet: Fleet, token: str = TOKEN.hex, **values: Any) -> Machine:
    """A machine whose name says that it is of this fleet."""
    facts = {
        "external_id": "found-1",
        "token": token,
        "name": f"{Installation.tag()}-{fleet.pk}-{TOKEN.hex}",
        "phase": Phase.RUNNING,
        "hourly_usd": Decimal("0.7"),
    }
    return Machine(**{**facts, **values})


def reconcile(
    account: Account, machine: Machine, **fails: ProviderError
) -> tuple[OneMachine, Reconciled]:
    """Reconcile with a list of one machine, which has been seen for an hour."""
    seen = {"first_seen_at": NOON - A_WHILE, "last_seen_at": NOON - A_WHILE}
    Orphan.objects.get_or_create(
        account=account, external_id=machine.external_id, defaults={"name": machine.name, **seen}
    )
    vendor = OneMachine(Pod(), machine=machine, listed=machine.phase, fails=fails)
    done = reconciling.reconcile_account(
        account,
        template_of=requesting.template_of,
        adopts=requesting.adopts,
        connect=vendor.connect,
    )
    return vendor, done


def nothing(_fleet: Fleet) -> None:
    pass


def archived(fleet: Fleet) -> None:
    Fleet.objects.filter(pk=fleet.pk).update(archived_at=NOON)


def a_row_has_the_token(fleet: Fleet) -> None:
    a_pod(fleet, READY, client_token=TOKEN)


ADOPT, DESTROY = Account.Orphans.ADOPT, Account.Orphans.DESTROY


@pytest.mark.parametrize(
    ("policy", "pods", "token", "also", "adopted"),
    [
        (ADOPT, 1, TOKEN.hex, nothing, True),
        (ADOPT, 0, TOKEN.hex, nothing, False),
        (ADOPT, 1, "not one of ours", nothing, False),
        (ADOPT, 1, TOKEN.hex, archived, False),
        (ADOPT, 1, TOKEN.hex, a_row_has_the_token, False),
        (DESTROY, 1, TOKEN.hex, nothing, False),
    ],
    ids=["adopted", "no pod to copy", "no token", "archived", "a second machine", "destroyed"],
)
def test_a_machine_without_a_row_gets_one(
    time: SteppedClock,
    policy: str,
    pods: int,
    token: str,
    also: Callable[[Fleet], None],
    *,
    adopted: bool,
) -> None:
    account = an_account(orphans=policy)
    fleet = a_fleet(accounts=[account], image="of the fleet:1")
    a_pod(a_fleet(accounts=[account]), image="of another fleet:1")
    for _ in range(pods):
        a_pod(fleet, image="of the pod:1")
    also(fleet)
    other = Orphan.objects.create(
        account=an_account(), external_id="found-1", first_seen_at=NOON, last_seen_at=NOON
    )
    _, done = reconcile(account, found(fleet, token))
    pod, event = Pod.objects.get(external_id="found-1"), PodEvent.objects.latest("pk")
    assert pod.fleet_id == fleet.pk
    assert pod.state == ("booting" if adopted else "terminating")
    assert (pod.retire_rule, bool(pod.retire_because)) == (
        ("", False) if adopted else ("orphan", True)
    )
    assert (pod.client_token == TOKEN) is (token == TOKEN.hex and also is not a_row_has_the_token)
    assert PriceSegment.objects.get(pod=pod).since == NOON - A_WHILE
    assert pod.due_at == (None if adopted else NOON)
    assert (event.by, event.rule) == ("reconcile", "adopted" if adopted else "orphan")
    assert event.because == f"found without a row: {'adopted' if adopted else 'destroyed'}"
    if also is not a_row_has_the_token:
        assert pod.image == ("of the pod:1" if pods else "of the fleet:1")
    orphan = Orphan.objects.get(external_id="found-1", account=account)
    assert orphan.gone_at == NOON
    assert orphan.outcome.startswith("adopted" if adopted else "has a row now")
    assert (done.adopted, done.destroyed) == ((["found-1"], []) if adopted else ([], ["found-1"]))
    other.refresh_from_db()
    assert other.outcome == ""


@pytest.mark.parametrize("name", ["a person's", "{other}-{fleet}-{token}"])
@pytest.mark.parametrize(
    ("policy", "fails", "calls", "outcome"),
    [
        (ADOPT, {}, [], ""),
        (DESTROY, {}, ["destroy"], ""),
        (DESTROY, {"destroy": Unavailable("no answer")}, ["destroy"], "destroy: no answer"),
    ],
)
def test_a_machine_of_no_fleet_gets_no_row(
    time: SteppedClock, name: str, policy: str, fails: Any, calls: list[str], outcome: str
) -> None:
    account, fleet = an_account(orphans=policy), a_fleet()
    shown = name.format(other="pf-000000", fleet=fleet.pk, token=TOKEN.hex)
    vendor, done = reconcile(account, found(fleet, name=shown), **fails)
    assert vendor.asked == ["list", *calls]
    assert Orphan.objects.get().outcome == outcome
    assert done.destroyed == (["found-1"] if calls and not fails else [])
    account.refresh_from_db()
    assert account.failures == len(fails)
    assert not Pod.objects.exists()


def test_the_row_of_a_machine_is_found_by_its_id_or_by_its_token(time: SteppedClock) -> None:
    account = an_account()
    fleet = a_fleet(accounts=[account])
    by_id = a_pod(fleet, READY, external_id="found-1")
    reconcile(account, found(fleet, token="not one of ours"))
    reconcile(account, found(fleet, token=by_id.client_token.hex))
    creating = a_pod(fleet, CREATING, client_token=TOKEN)
    reconcile(account, found(fleet, external_id="found-2"))
    assert set(Pod.objects.all()) == {by_id, creating}
    other = an_account("runpod")
    reconcile(other, found(fleet, token="not one of ours"))
    assert Pod.objects.filter(external_id="found-1").count() == 2


@pytest.mark.parametrize(("ended", "back"), [(4, False), (5, True), (None, True)])
def test_an_ended_row_whose_machine_lives_is_reopened_a_while_after_its_end(
    time: SteppedClock, ended: int | None, *, back: bool
) -> None:
    account = an_account()
    fleet = a_fleet(accounts=[account])
    when = None if ended is None else NOON - timedelta(seconds=ended)
    facts = {"external_id": "found-1", "ended_at": when, "destroy_asked_at": NOON}
    pod = a_pod(fleet, TERMINATED, absent_since=NOON, **facts)
    _, done = reconcile(account, found(fleet))
    pod.refresh_from_db()
    assert pod.state == ("terminating" if back else "terminated")
    assert done.resurrected == (["found-1"] if back else [])
    assert (pod.destroy_asked_at is None) is back


def test_an_ended_row_without_an_id_gets_that_of_its_machine(time: SteppedClock) -> None:
    account = an_account()
    fleet = a_fleet(accounts=[account])
    pod = a_pod(fleet, TERMINATED, client_token=TOKEN, external_id=None, ended_at=NOON - A_WHILE)
    reconcile(account, found(fleet))
    pod.refresh_from_db()
    assert (pod.external_id, pod.status) == ("found-1", TERMINATING)


def test_a_gone_machine_is_none_and_what_is_not_listed_is_forgotten(time: SteppedClock) -> None:
    account, other = an_account(), an_account()
    fleet = a_fleet(accounts=[account])
    for owner, name in ((account, "o"), (other, "o")):
        Orphan.objects.create(
            account=owner, external_id=name, first_seen_at=NOON, last_seen_at=NOON
        )
    handled = Orphan.objects.create(
        account=account,
        external_id="h",
        first_seen_at=NOON,
        last_seen_at=NOON,
        gone_at=NOON - A_WHILE,
    )
    reconcile(account, found(fleet, phase=Phase.GONE))
    assert not Pod.objects.exists()
    gone = Orphan.objects.filter(outcome="gone, or has a row").values_list("external_id", "account")
    assert sorted(gone) == [("found-1", account.pk), ("o", account.pk)]
    handled.refresh_from_db()
    assert handled.gone_at == NOON - A_WHILE


def test_a_machine_that_was_handled_and_is_back_is_waited_for_again(time: SteppedClock) -> None:
    account = an_account()
    fleet = a_fleet(accounts=[account])
    seen = Orphan.objects.create(
        account=account, external_id="found-1", first_seen_at=NOON - A_WHILE, outcome="adopted",
        last_seen_at=NOON - A_WHILE, gone_at=NOON - A_WHILE, hourly_usd=3,
    )  # fmt: skip
    reconcile(account, replace(found(fleet), hourly_usd=None))
    seen.refresh_from_db()
    assert (seen.first_seen_at, seen.gone_at, seen.outcome, seen.hourly_usd) == (NOON, None, "", 3)
    reconcile(account, found(fleet))
    seen.refresh_from_db()
    assert (seen.first_seen_at, seen.hourly_usd) == (NOON, Decimal("0.7"))
    assert not Pod.objects.exists()


def test_what_became_of_a_machine_that_got_a_row_meanwhile_stays(time: SteppedClock) -> None:
    facts = {"first_seen_at": NOON, "last_seen_at": NOON, "outcome": "adopted"}
    account = an_account()
    got_a_row = Orphan.objects.create(account=account, external_id="a", gone_at=NOON, **facts)
    there = Orphan.objects.create(account=account, external_id="b", **facts)
    for seen in (got_a_row, there):
        reconciling._say(seen, MachineOutcome.DESTROY_FAILED, "destroy: no answer")
    outcomes = Orphan.objects.order_by("pk").values_list("outcome", flat=True)
    assert list(outcomes) == ["adopted", "destroy: no answer"]


def test_a_list_that_fails_counts_against_the_account_and_one_that_is_read_closes_its_breaker(
    time: SteppedClock,
) -> None:
    account, other = an_account(failures=1), an_account()
    machine = found(a_fleet(accounts=[account]))
    with pytest.raises(Unavailable):
        reconcile(account, machine, list=Unavailable("no answer"))
    assert Account.objects.get(pk=account.pk).failures == 2
    reconcile(account, machine)
    told = Account.objects.order_by("pk").values_list("failures", "reconciled_at")
    assert list(told) == [(0, NOON), (0, None)]
    assert other.pk > account.pk
