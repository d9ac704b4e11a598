"""Each step of a resume, and the row and the price of a machine that was found."""

import uuid
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fleet.tick import requesting
from pods import dispatch, resuming
from pods.accounts.surveying import packed
from pods.emulators.base import SteppedClock
from pods.models import Account, Pod, PriceSegment
from pods.pod_rows import pod_of_machine, price_of
from pods.providers.base import Machine, Offer, Phase
from pods.providers.errors import NoCapacity, ProviderError, Unavailable
from pods.spawning import TRIES
from pods.states import BOOTING, READY, REQUESTED, RESUMING, STOPPED
from tests.support.factories import NOON, a_fleet, a_pod, an_account, hours
from tests.support.fixtures import time as time
from tests.support.one_machine import OneMachine

pytestmark = pytest.mark.django_db
NOWHERE = "redis://127.0.0.1:1/0"


def resume(pod: Pod, vendor: OneMachine) -> list[str]:
    outbox = dispatch.Outbox()
    with outbox:
        resuming.resume_pod(pod.pk, connect=vendor.connect)
    pod.refresh_from_db()
    return [task for task, _, _ in outbox._waiting]


@pytest.mark.parametrize(
    ("phase", "row", "calls", "state", "because"),
    [
        (Phase.RUNNING, {}, [], "booting", "it runs again"),
        (Phase.BOOTING, {}, [], "booting", "it runs again"),
        (Phase.STOPPED, {}, ["start"], "resuming", ""),
        (Phase.STOPPED, {"attempts": TRIES - 1}, ["start"], "resuming", ""),
        (Phase.STOPPED, {"attempts": TRIES}, [], "terminating",
         f"did not run after {TRIES} tries to start it"),
        (Phase.GONE, {}, [], "terminating", "cannot be resumed: the provider lists it as ended"),
        (None, {}, [], "terminating", "cannot be resumed: no such machine"),
        (Phase.STOPPED, {"redis_url": NOWHERE}, [], "resuming", ""),
    ],
)  # fmt: skip
def test_a_pod_that_is_to_run_again(
    redis_url: str, time: SteppedClock, phase: Any, row: Any, calls: Any, state: str, because: str
) -> None:
    pod = a_pod(state=RESUMING, **row)
    vendor = OneMachine(pod, by_status=phase)
    tasks = resume(pod, vendor)
    assert (vendor.asked, pod.state) == (["status", *calls], state)
    assert not because or pod.because == because
    again = {"booting": [], "resuming": ["pods.resume"], "terminating": ["pods.teardown"]}
    assert tasks == again[state]
    assert pod.retire_rule == ("cannot_resume" if state == "terminating" else "")
    assert pod.booted_at == (NOON if state == "booting" else None)


@pytest.mark.parametrize(
    ("error", "state", "failures"),
    [(NoCapacity("taken"), "terminating", 0), (Unavailable("x"), "resuming", 1)],
)
def test_a_start_that_fails(
    redis_url: str, time: SteppedClock, error: ProviderError, state: str, failures: int
) -> None:
    pod = a_pod(state=RESUMING)
    resume(pod, OneMachine(pod, by_status=Phase.STOPPED, fails={"start": error}))
    assert (pod.state, Account.objects.get().failures) == (state, failures)


@pytest.mark.parametrize("state", [STOPPED, REQUESTED])
def test_a_pod_that_is_not_to_run_again_is_left_alone(time: SteppedClock, state: Any) -> None:
    pod = a_pod(state=state)
    vendor = OneMachine(pod)
    assert (resume(pod, vendor), vendor.asked, pod.status) == ([], [], state)


def test_nothing_is_started_on_an_account_that_was_closed(
    redis_url: str, time: SteppedClock
) -> None:
    pod = a_pod(state=RESUMING)
    Account.objects.update(enabled=False)
    vendor = OneMachine(pod, by_status=Phase.STOPPED)
    resume(pod, vendor)
    assert (pod.state, vendor.asked) == ("stopped", ["status"])
    assert pod.because.startswith("not started: the account")


MACHINE = Machine(external_id="m", token="", name="pf-a1b2c3-1-x", phase=Phase.RUNNING)


def test_a_machine_without_a_price_is_booked_at_the_highest_likely_one() -> None:
    account, other = an_account(), an_account()
    mine, another, empty = (a_fleet(accounts=[account]) for _ in range(3))
    assert price_of(MACHINE, account, mine.pk) == 0
    account.offers = [packed(Offer(key=k, hourly_usd=Decimal(k))) for k in ("3", "9", "1")]
    assert price_of(MACHINE, account, mine.pk) == 9
    for fleet, usd in ((mine, 1), (mine, 2), (another, 5)):
        a_pod(fleet, READY, hourly_usd=Decimal(usd))
    a_pod(mine, READY, account=other, hourly_usd=Decimal(7))
    assert price_of(MACHINE, account, mine.pk) == 2
    assert price_of(MACHINE, account, empty.pk) == 5
    assert price_of(MACHINE, account, None) == 5
    told = Machine(external_id="m", token="", name="n", phase=Phase.RUNNING, hourly_usd=Decimal(4))
    assert price_of(told, account, mine.pk) == 4


@pytest.mark.parametrize(
    ("machine", "name"),
    [
        ({"token": "ab" * 16}, "pf-a1b2c3-1-x"),
        ({"name": f"pf-a1b2c3-1-{'ab' * 16}"}, f"pf-a1b2c3-1-{'ab' * 16}"),
        ({"token": "ab" * 16, "name": "pf-a1b2c3-1-" + "x" * 90}, f"pf-a1b2c3-1-{'ab' * 16}"),
        ({"token": "cd" * 16}, f"pf-a1b2c3-1-x-{'ab' * 4}"),
        ({"token": "ab" * 16, "created_at": NOON - hours(1)}, "pf-a1b2c3-1-x"),
    ],
)
def test_the_row_of_a_found_machine(time: SteppedClock, machine: Any, name: str) -> None:
    account = an_account()
    fleet = a_fleet(accounts=[account])
    facts = {"external_id": "m", "token": "", "name": MACHINE.name, "phase": Phase.RUNNING}
    row = pod_of_machine(
        requesting.template(fleet),
        account,
        Machine(**{**facts, **machine}),
        state=BOOTING,
        token=uuid.UUID("ab" * 16),
        tag="pf-a1b2c3-1",
    )
    assert row.name == name
    assert row.asked_at == row.requested_at == machine.get("created_at", NOON)


def test_the_cost_of_a_segment_ends_where_it_ended(time: SteppedClock) -> None:
    a_pod(state=READY, hourly_usd=Decimal(2))
    segment = PriceSegment.objects.get()
    later = NOON + timedelta(hours=3)
    assert segment.cost_usd(later) == 6
    assert segment.cost_usd(later, since=NOON + timedelta(hours=1)) == 4
    assert segment.cost_usd(later, since=NOON - timedelta(hours=1)) == 6
    segment.until = NOON + timedelta(hours=2)
    assert segment.cost_usd(later) == 4


def test_only_pods_for_which_a_step_is_due_are_in_transit() -> None:
    fleet = a_fleet()
    due = a_pod(fleet, REQUESTED)
    a_pod(fleet, READY)
    assert list(Pod.objects.in_transit()) == [due]
