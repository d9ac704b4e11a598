"""Which price segments a change of a pod's state opens, changes and closes."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from pods.costs import segments
from pods.emulators.base import SteppedClock
from pods.models import Correction, Pod, PriceSegment
from pods.states import (
    BOOTING,
    CREATING,
    DRAINING,
    FAILED,
    LOST,
    READY,
    REQUESTED,
    RESUMING,
    STOPPED,
    STOPPING,
    TERMINATED,
    TERMINATING,
)
from tests.support.factories import NOON, a_fleet, a_pod
from tests.support.fixtures import time as time

pytestmark = pytest.mark.django_db
BEGAN, ASKED = NOON - timedelta(hours=2), NOON - timedelta(hours=1)
USD, STOPPED_USD = Decimal("0.5"), Decimal("0.1")
Row = tuple[Decimal, datetime, datetime | None]


def booked(pod: Pod) -> list[Row]:
    rows = PriceSegment.objects.filter(pod=pod).order_by("since", "pk")
    return list(rows.values_list("hourly_usd", "since", "until"))


def a_booked_pod(*rows: Row, **values: Any) -> Pod:
    """A pod with these segments, beside another one with an open segment."""
    fleet = a_fleet()
    a_pod(fleet, READY, hourly_usd=Decimal(9))
    pod = a_pod(fleet, READY, hourly_usd=USD, stopped_hourly_usd=STOPPED_USD, **values)
    PriceSegment.objects.filter(pod=pod).delete()
    PriceSegment.objects.update(since=BEGAN)
    for usd, since, until in rows:
        PriceSegment.objects.create(pod=pod, fleet=fleet, hourly_usd=usd, since=since, until=until)
    return pod


RUNS: Row = (USD, BEGAN, None)
ENDED: Row = (USD, BEGAN, ASKED)


@pytest.mark.parametrize(
    ("rows", "before", "after", "values", "then"),
    [
        ([], REQUESTED, CREATING, {}, [(USD, NOON, None)]),
        ([RUNS], CREATING, BOOTING, {}, [RUNS]),
        ([RUNS], BOOTING, READY, {}, [RUNS]),
        ([RUNS], STOPPING, STOPPED, {}, [(USD, BEGAN, NOON), (STOPPED_USD, NOON, None)]),
        ([(STOPPED_USD, BEGAN, None)], STOPPED, RESUMING, {},
         [(STOPPED_USD, BEGAN, NOON), (USD, NOON, None)]),
        ([RUNS], TERMINATING, TERMINATED, {}, [(USD, BEGAN, NOON)]),
        ([ENDED, (USD, ASKED, None)], TERMINATING, TERMINATED, {}, [ENDED, (USD, ASKED, NOON)]),
        ([ENDED], READY, DRAINING, {}, [ENDED]),
        ([RUNS], TERMINATING, LOST, {"destroy_asked_at": ASKED}, [ENDED]),
        ([RUNS], CREATING, FAILED, {"destroy_asked_at": NOON + timedelta(hours=1)},
         [(USD, BEGAN, NOON)]),
        ([RUNS], TERMINATING, LOST, {"destroy_asked_at": BEGAN - timedelta(hours=1)},
         [(USD, BEGAN, BEGAN)]),
        ([ENDED], LOST, TERMINATING, {}, [RUNS]),
        ([], LOST, TERMINATING, {"asked_at": ASKED}, [(USD, ASKED, None)]),
        ([], LOST, TERMINATING, {"asked_at": None}, [(USD, NOON, None)]),
        ([], LOST, TERMINATING, {"asked_at": NOON + timedelta(hours=1)}, [(USD, NOON, None)]),
    ],
)  # fmt: skip
def test_a_move_books_the_change_of_price(
    time: SteppedClock, rows: list[Row], before: Any, after: Any, values: Any, then: list[Row]
) -> None:
    pod = a_booked_pod(*rows, **values)
    segments.follow(pod, before, after, now=NOON)
    assert booked(pod) == then
    assert PriceSegment.objects.get(hourly_usd=9).until is None
    cost = PriceSegment.objects.filter(pod=pod, until=NOON, hourly_usd=USD, since=BEGAN).first()
    assert cost is None or cost.cost_micros == 1_000_000


@pytest.mark.parametrize(("state", "begins"), [(REQUESTED, []), (BOOTING, [(USD, ASKED, None)])])
def test_only_a_row_with_a_machine_begins_to_bill(
    time: SteppedClock, state: Any, begins: list[Row]
) -> None:
    pod = a_booked_pod()
    pod.state = state.value
    segments.begin(pod, since=ASKED)
    assert booked(pod) == begins


def test_a_price_that_did_not_change_is_not_booked_again(time: SteppedClock) -> None:
    pod = a_booked_pod(RUNS)
    segments.reprice(pod, USD, now=NOON)
    assert booked(pod) == [RUNS]
    segments.reprice(pod, Decimal(2), now=NOON)
    assert booked(pod) == [(USD, BEGAN, NOON), (Decimal(2), NOON, None)]
    assert segments.open_prices([pod]) == {pod.pk: Decimal(2)}
    segments.never_billed(pod)
    assert booked(pod) == []
    assert PriceSegment.objects.count() == 1


@pytest.mark.parametrize(
    ("rows", "there", "then"),
    [
        ([], False, []),
        ([RUNS], True, [RUNS]),
        ([ENDED], True, [RUNS]),
        ([(USD, BEGAN, BEGAN), (USD, BEGAN, ASKED)], True, [(USD, BEGAN, BEGAN), RUNS]),
        ([(STOPPED_USD, BEGAN, ASKED), (USD, ASKED, NOON)], True,
         [(STOPPED_USD, BEGAN, ASKED), (USD, ASKED, None)]),
    ],
)  # fmt: skip
def test_the_last_segment_of_a_machine_that_is_still_there_goes_on(
    time: SteppedClock, rows: list[Row], there: bool, then: list[Row]
) -> None:
    pod = a_booked_pod(*rows)
    assert segments.still_there(pod) is there
    assert booked(pod) == then


def test_an_earlier_segment_at_the_same_price_is_not_the_one_that_runs(time: SteppedClock) -> None:
    pod = a_booked_pod(ENDED, (STOPPED_USD, ASKED, None))
    segments.reprice(pod, USD, now=NOON)
    assert booked(pod) == [ENDED, (STOPPED_USD, ASKED, NOON), (USD, NOON, None)]


def test_what_was_never_billed_is_corrected_for_this_pod_alone(time: SteppedClock) -> None:
    pod = a_booked_pod(ENDED, (USD, ASKED, None))
    segments.never_billed(pod)
    rows = Correction.objects.order_by("since").values_list("pod", "since", "until", "micros")
    hour = 500_000
    assert list(rows) == [(pod.pk, BEGAN, ASKED, -hour), (pod.pk, ASKED, NOON, -hour)]


def test_a_machine_that_is_still_there_billed_until_the_given_moment(time: SteppedClock) -> None:
    pod = a_booked_pod(ENDED)
    later = ASKED + timedelta(minutes=6)
    segments.still_there(pod, now=later)
    [fix] = Correction.objects.all()
    assert (fix.since, fix.until) == (ASKED, later)


def test_no_correction_ends_before_it_begins(time: SteppedClock) -> None:
    pod = a_booked_pod(RUNS)
    segments.close(pod, at=NOON, now=ASKED)
    assert booked(pod) == [(USD, BEGAN, NOON)]
    assert not Correction.objects.exists()
