"""Each step of a pod's end, by what its provider answers."""

from datetime import timedelta
from typing import Any

import pytest

from pods import teardown
from pods.emulators.base import SteppedClock
from pods.models import Pod, PodEvent, PriceSegment
from pods.providers.base import Capabilities, Phase
from pods.providers.errors import NotFound, ProviderError, RateLimited, Unavailable
from pods.rules import PodRule
from pods.states import READY, STOPPING, TERMINATED, TERMINATING, PodState
from tests.support.factories import NOON, a_fleet, a_pod
from tests.support.fixtures import time as time
from tests.support.one_machine import OneMachine

pytestmark = pytest.mark.django_db
NOWHERE = "redis://127.0.0.1:1/0"
MINUTE = timedelta(minutes=1)
WINDOW, LAG = 2 * MINUTE, 10 * MINUTE


def step(pod: Pod, vendor: OneMachine) -> None:
    """Do one step of the pod's end; no row of another pod changes."""
    others = Pod.objects.exclude(pk=pod.pk).order_by("pk")
    for state in (STOPPING, TERMINATING):
        a_pod(pod.fleet, state, absent_since=NOON - MINUTE, destroy_asked_at=NOON - MINUTE)
    before = list(others.values())
    teardown.teardown_pod(pod.pk, connect=vendor.connect)
    pod.refresh_from_db()
    assert list(others.values()) == before


@pytest.mark.parametrize(
    ("phase", "minutes", "state", "because", "calls"),
    [
        (Phase.RUNNING, 1, "stopping", "", ["status", "stop"]),
        (Phase.RUNNING, 11, "terminating", "cannot be stopped: the provider says running", []),
        (Phase.STOPPED, 1, "stopped", "the provider says that it is stopped", []),
        (Phase.FAILED, 1, "terminating", "cannot be stopped: the provider says failed", []),
        (Phase.GONE, 1, "terminating", "its machine disappeared while it was stopping", []),
        (None, 1, "terminating", "its machine disappeared while it was stopping", []),
    ],
)
def test_a_pod_that_is_to_stop(
    time: SteppedClock, phase: Phase | None, minutes: int, state: str, because: str, calls: Any
) -> None:
    pod = a_pod(state=STOPPING)
    time.advance(minutes * 60)
    vendor = OneMachine(pod, by_status=phase)
    step(pod, vendor)
    assert (pod.state, vendor.asked) == (state, calls or ["status"])
    assert not because or pod.because == because


def test_a_stop_that_fails_counts_against_the_account_and_is_repeated(time: SteppedClock) -> None:
    pod = a_pod(state=STOPPING)
    step(pod, OneMachine(pod, fails={"stop": Unavailable("no answer")}))
    assert (pod.state, pod.note, pod.attempts) == ("stopping", "stop: no answer", 1)
    assert pod.due_at == NOON + timedelta(seconds=2)
    pod.account.refresh_from_db()
    assert pod.account.failures == 1


@pytest.mark.fault(45)
@pytest.mark.parametrize(("seconds", "asked"), [(119, False), (120, True)])
def test_a_destroy_waits_for_a_fence_for_two_minutes(
    redis_url: str, time: SteppedClock, seconds: int, *, asked: bool
) -> None:
    pod = a_pod(state=TERMINATING, redis_url=NOWHERE)
    time.advance(seconds)
    vendor = OneMachine(pod)
    step(pod, vendor)
    assert ("destroy" in vendor.asked, pod.state) == (asked, "terminating")


@pytest.mark.fault(36)
@pytest.mark.parametrize(
    ("by_status", "listed", "destroys"),
    [
        (Phase.RUNNING, None, True),
        (None, Phase.RUNNING, True),
        (Phase.GONE, Phase.RUNNING, True),
        (Phase.GONE, Phase.GONE, False),
        (None, None, False),
    ],
)
def test_a_machine_that_either_reading_shows_is_destroyed_again_and_goes_on_billing(
    redis_url: str,
    time: SteppedClock,
    by_status: Phase | None,
    listed: Phase | None,
    *,
    destroys: bool,
) -> None:
    asked = NOON - timedelta(hours=1)
    pod = a_pod(state=TERMINATING, destroy_asked_at=asked)
    PriceSegment.objects.filter(pod=pod).update(until=NOON)
    vendor = OneMachine(pod, by_status=by_status, listed=listed)
    step(pod, vendor)
    assert ("destroy" in vendor.asked) is destroys
    assert pod.destroy_asked_at == (NOON if destroys else asked)
    assert PriceSegment.objects.filter(pod=pod, until=None).exists() is destroys
    assert pod.absent_since == (None if destroys else NOON)


@pytest.mark.parametrize(
    ("error", "seconds", "note", "failures"),
    [
        (RateLimited("slow down", retry_after=40), 40, "destroy: slow down", 0),
        (RateLimited("slow down"), 2, "destroy: slow down", 0),
        (Unavailable("no answer"), 2, "destroy: Unavailable: no answer", 1),
    ],
)
def test_a_destroy_that_fails_is_repeated(
    redis_url: str,
    time: SteppedClock,
    error: ProviderError,
    seconds: int,
    note: str,
    failures: int,
) -> None:
    pod = a_pod(state=TERMINATING)
    step(pod, OneMachine(pod, fails={"destroy": error}))
    assert (pod.state, pod.note, pod.destroy_asked_at) == ("terminating", note, None)
    assert pod.due_at == NOON + timedelta(seconds=seconds)
    pod.account.refresh_from_db()
    assert pod.account.failures == failures


@pytest.mark.fault(37)
@pytest.mark.parametrize(
    ("absent", "asked", "requested", "due"),
    [
        (WINDOW, LAG, LAG, None),
        (WINDOW - MINUTE, LAG, LAG, MINUTE),
        (WINDOW, LAG - 3 * MINUTE, 9 * LAG, 3 * MINUTE),
        (WINDOW, None, LAG - 4 * MINUTE, 4 * MINUTE),
        (WINDOW, None, LAG, None),
    ],
    ids=["proved", "too soon", "a late create", "never asked", "never asked, and old"],
)
def test_an_end_is_proved_when_the_window_and_the_lag_of_the_list_have_passed(
    redis_url: str,
    time: SteppedClock,
    absent: timedelta,
    asked: timedelta | None,
    requested: timedelta,
    due: timedelta | None,
) -> None:
    pod = a_pod(
        state=TERMINATING,
        absent_since=NOON - absent,
        asked_at=None if asked is None else NOON - asked,
        requested_at=NOON - requested,
        destroy_asked_at=NOON - WINDOW,
    )
    limits = Capabilities(list_lag=LAG, consistency_window=WINDOW)
    step(pod, OneMachine(pod, by_status=None, listed=None, capabilities=limits))
    assert pod.status is (TERMINATED if due is None else TERMINATING)
    assert pod.due_at == (None if due is None else NOON + due)


def test_only_a_pod_that_is_destroyed_is_tried_again_at_once(time: SteppedClock) -> None:
    fleet = a_fleet()
    other, ready, pod = (a_pod(fleet, state) for state in (TERMINATING, READY, TERMINATING))
    later = NOON + MINUTE
    Pod.objects.update(due_at=later)
    assert teardown.try_again(pod, by="ann")
    assert not teardown.try_again(ready, by="ann")
    due = Pod.objects.order_by("pk").values_list("pk", "due_at")
    assert list(due) == [(other.pk, later), (ready.pk, later), (pod.pk, NOON)]
    assert list(PodEvent.objects.filter(by="ann").values_list("pod", flat=True)) == [pod.pk]


@pytest.mark.parametrize("state", [STOPPING, TERMINATING])
def test_an_account_without_its_key_is_asked_again_later(
    redis_url: str, time: SteppedClock, state: PodState
) -> None:
    pod = a_pod(state=state)
    type(pod.account).objects.update(provider="runpod", secret_ref="env:NOT_SET_ANYWHERE")
    teardown.teardown_pod(pod.pk)
    pod.refresh_from_db()
    assert (pod.status, pod.attempts) == (state, 1)
    assert pod.note.startswith("cannot connect: ")


def test_a_lost_pod_ends_as_lost(redis_url: str, time: SteppedClock) -> None:
    pod = a_pod(
        state=TERMINATING,
        absent_since=NOON - MINUTE,
        destroy_asked_at=NOON - MINUTE,
        retire_rule=PodRule.ABSENT.value,
        lost_because="no reading shows it",
    )
    step(pod, OneMachine(pod, by_status=None, listed=None))
    assert (pod.state, pod.because) == ("lost", "no reading shows it")


def test_a_machine_that_its_status_does_not_know_is_looked_for_in_the_list(
    redis_url: str, time: SteppedClock
) -> None:
    pod = a_pod(state=TERMINATING, absent_since=NOON - MINUTE, destroy_asked_at=NOON - MINUTE)
    vendor = OneMachine(pod, by_status=None, fails={"status": NotFound("x")})
    vendor.listed = Phase.RUNNING
    step(pod, vendor)
    assert (pod.state, pod.absent_since) == ("terminating", None)
