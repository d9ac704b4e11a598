"""What a pod's life writes into its row, and into no other row."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.conf import settings
from django.db import connection

from pods import lifecycle
from pods.emulators.base import SteppedClock
from pods.lifecycle import DuplicateMachine, IllegalMove, Overtaken
from pods.models import Pod, PodEvent, PriceSegment
from pods.rules import PodRule
from pods.states import BOOTING, CREATING, READY, STOPPED, TERMINATED, TERMINATING
from tests.support.factories import NOON, a_fleet, a_pod
from tests.support.fixtures import time as time

pytestmark = pytest.mark.django_db
ADDRESS, SHOWN = "redis://pod:s3cret@h/0", "redis://***@h/0"


@contextmanager
def standing_still(before_statement: int, act: Callable[[], object]) -> Iterator[None]:
    """Let something happen before the n-th statement of the block."""
    seen = 0

    def wrap(execute: Any, *call: Any) -> Any:
        nonlocal seen
        seen += 1
        if seen == before_statement:
            act()
        return execute(*call)

    with connection.execute_wrapper(wrap):
        yield


def claimed(pod: Pod) -> None:
    with lifecycle.claimed(pod.pk) as mine:
        assert mine is not None
        assert (mine.pk, mine.claim) == (pod.pk, pod.claim + 1)
        lifecycle.still_claimed(mine, note="x")


def moved(pod: Pod) -> None:
    lifecycle.move(pod, BOOTING, by="test", because="x")


def remembered(pod: Pod) -> None:
    lifecycle.remember(pod, "machine-1", hourly_usd=Decimal(2))


def repriced(pod: Pod) -> None:
    lifecycle.follow_price(pod, hourly_usd=Decimal(2), booked_usd=pod.hourly_usd)


def postponed(pod: Pod) -> None:
    lifecycle.postpone(pod, by=timedelta(seconds=1), because="x")


@pytest.mark.parametrize("verb", [claimed, moved, remembered, repriced, postponed])
def test_a_change_of_one_pod_changes_no_other_row(
    time: SteppedClock, verb: Callable[[Pod], None]
) -> None:
    fleet = a_fleet()
    held = NOON + timedelta(minutes=1)
    # Each has the version of the pod, and one has the number of the claim that it will get.
    for values in ({"claim": 1, "claimed_until": held}, {"claim": 0}, {"claim": 1}):
        a_pod(fleet, CREATING, **values)
    pod = a_pod(fleet, CREATING)
    others = Pod.objects.exclude(pk=pod.pk).order_by("pk")
    before = list(others.values())
    verb(pod)
    assert list(others.values()) == before
    assert PriceSegment.objects.exclude(pod=pod).filter(hourly_usd=2).count() == 0


def test_of_two_verbs_one_has_the_claim_though_the_first_stood_still_before_it_read(
    time: SteppedClock,
) -> None:
    pod, taken = a_pod(), list[int | None]()

    def another() -> None:
        time.advance(settings.CLAIM_LEASE.total_seconds() + 1)
        taken.append(lifecycle._take(pod.pk))

    with standing_still(3, another), lifecycle.claimed(pod.pk) as mine:
        assert mine is None
    assert taken == [2]


def test_a_verb_that_took_its_claim_in_time_has_it(time: SteppedClock) -> None:
    pod = a_pod()
    with lifecycle.claimed(pod.pk) as mine:
        assert mine is not None
        with lifecycle.claimed(pod.pk) as second:
            assert second is None
        lifecycle.still_claimed(mine)
    with lifecycle.claimed(pod.pk + 1) as missing:
        assert missing is None
    with lifecycle.claimed(pod.pk) as third:
        assert third is not None


@pytest.mark.fault(44)
@pytest.mark.parametrize("other", [False, True], ids=["it ended", "another has it"])
def test_a_claim_that_is_not_held_any_more_is_noticed(time: SteppedClock, *, other: bool) -> None:
    pod = a_pod()
    with lifecycle.claimed(pod.pk) as mine:
        assert mine is not None
        time.advance(settings.CLAIM_LEASE.total_seconds() + (1 if other else 0))
        if other:
            assert lifecycle._take(pod.pk) == 2
        with pytest.raises(Overtaken, match="has ended"):
            lifecycle.still_claimed(mine, note="x")
    pod.refresh_from_db()
    assert pod.note == ""


@pytest.mark.parametrize("column", ["retire_because", "lost_because", "note"])
def test_no_text_of_a_row_has_a_password(time: SteppedClock, column: str) -> None:
    pod = a_pod(state=BOOTING)
    lifecycle.move(pod, READY, by="test", because=ADDRESS, **{column: ADDRESS})
    pod.refresh_from_db()
    assert (pod.because, getattr(pod, column)) == (SHOWN, SHOWN)
    lifecycle.note(pod, by="test", rule=PodRule.OPERATOR, because=ADDRESS)
    said = PodEvent.objects.filter(pod=pod).order_by("-pk")
    assert list(said.values_list("because", flat=True)[:2]) == [SHOWN, SHOWN]


@pytest.mark.parametrize(("unless_retired", "state"), [(True, "creating"), (False, "booting")])
def test_a_pod_that_is_to_end_moves_unless_that_is_asked_for(
    time: SteppedClock, state: str, *, unless_retired: bool
) -> None:
    fleet = a_fleet()
    other, pod = a_pod(fleet, CREATING), a_pod(fleet, CREATING)
    Pod.objects.filter(pk=pod.pk).update(retire_rule=PodRule.OPERATOR.value)
    for each in (other, pod):
        with suppress(Overtaken):
            lifecycle.move(each, BOOTING, by="t", because="x", unless_retired=unless_retired)
        each.refresh_from_db()
    assert (other.state, pod.state) == ("booting", state)


def test_a_move_writes_its_reason_its_rule_and_its_times(time: SteppedClock) -> None:
    pod = a_pod(state=STOPPED, absent_since=NOON, hourly_usd=Decimal(3), stopped_hourly_usd=1)
    with pytest.raises(IllegalMove, match="cannot move from stopped to ready"):
        lifecycle.move(pod, READY, by="test", because="x")
    time.advance(60)
    later = NOON + timedelta(seconds=60)
    lifecycle.move(pod, TERMINATING, by="test", because="x", rule=PodRule.OPERATOR)
    row = Pod.objects.get()
    assert (row.absent_since, row.due_at, row.ended_at, row.hourly_usd) == (None, later, None, 1)
    assert (row.retire_rule, row.state_since) == ("operator", later)
    lifecycle.move(pod, TERMINATED, by="test", because="gone")
    row = Pod.objects.get()
    assert (row.due_at, row.ended_at, row.retire_rule) == (None, later, "operator")
    events = PodEvent.objects.order_by("pk").values_list("before", "after", "rule")
    assert list(events)[1:] == [("stopped", "terminating", "operator"),
                                ("terminating", "terminated", "")]  # fmt: skip


def test_only_the_end_of_a_stopped_pod_changes_its_price_and_only_an_end_has_a_rule(
    time: SteppedClock,
) -> None:
    pod = a_pod(state=BOOTING, absent_since=NOON, stopped_hourly_usd=1)
    lifecycle.move(pod, READY, by="test", because="x", rule=PodRule.WANTED)
    assert (pod.absent_since, pod.retire_rule) == (NOON, "")
    lifecycle.move(pod, TERMINATING, by="test", because="x", rule=PodRule.IDLE)
    assert (pod.hourly_usd, pod.retire_rule, pod.absent_since) == (Decimal("0.5"), "idle", None)


@pytest.mark.parametrize(("state", "due"), [(CREATING, NOON), (READY, None)])
def test_a_new_row_is_due_where_a_step_follows(time: SteppedClock, state: Any, due: Any) -> None:
    assert a_pod(state=state).due_at == due


@pytest.mark.parametrize(("words", "usd"), [({}, Decimal("0.5")), ({"hourly_usd": 2}, 2)])
def test_a_machine_is_booked_at_the_price_that_its_vendor_says(
    time: SteppedClock, words: dict[str, Any], usd: Decimal
) -> None:
    pod = a_pod(state=CREATING)
    PriceSegment.objects.all().delete()
    lifecycle.remember(pod, "machine-1", **words)
    booked = PriceSegment.objects.values_list("hourly_usd", flat=True)
    assert list(booked) == ([usd] if words else [])
    assert Pod.objects.get().hourly_usd == usd
    with pytest.raises(DuplicateMachine, match="not machine-2"):
        lifecycle.remember(pod, "machine-2")


@pytest.mark.parametrize(
    ("booked", "usd", "events", "open_at"),
    [
        ("0.5", "0.5", 1, ["0.5"]),  # nothing changed
        ("0.5", "2", 2, ["2"]),
        ("2", "0.5", 1, ["0.5"]),  # the row is right, and the ledger is not
        (None, "0.5", 1, ["0.5"]),  # a killed process left no open segment
    ],
)
def test_a_price_is_followed_in_the_row_the_history_and_the_ledger(
    time: SteppedClock, booked: str | None, usd: str, events: int, open_at: list[str]
) -> None:
    pod = a_pod(state=READY)
    segments = PriceSegment.objects.filter(pod=pod)
    if booked is None:
        segments.update(until=NOON)
    else:
        segments.update(hourly_usd=booked)
    time.advance(60)
    price = None if booked is None else Decimal(booked)
    lifecycle.follow_price(pod, hourly_usd=Decimal(usd), booked_usd=price)
    running = segments.filter(until=None).values_list("hourly_usd", flat=True)
    assert list(running) == [Decimal(each) for each in open_at]
    assert segments.count() == (2 if booked not in {usd, None} else 1)
    assert PodEvent.objects.count() == events
    assert Pod.objects.get().hourly_usd == Decimal(usd)


@pytest.mark.parametrize(
    ("words", "attempts", "note"), [({}, 1, "old"), ({"because": "new", "counted": True}, 0, "new")]
)
def test_a_step_that_waits_is_counted_once_and_keeps_its_note(
    time: SteppedClock, words: dict[str, Any], attempts: int, note: str
) -> None:
    pod = a_pod(state=TERMINATING, note="old")
    lifecycle.postpone(pod, by=timedelta(seconds=9), **words)
    row = Pod.objects.get()
    assert (row.attempts, row.note, row.due_at) == (attempts, note, NOON + timedelta(seconds=9))
    assert (pod.attempts, pod.note) == (attempts, note)
