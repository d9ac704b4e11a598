"""Who stands still while it takes a lease or a claim does not come away with another's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from fleet import ticking
from fleet.models import Lease
from pods import clock, lifecycle
from pods.models import Pod
from tests.emulators.base import SteppedClock
from tests.factories import a_fleet, a_pod

pytestmark = pytest.mark.django_db
LONGER_THAN_EVERY_LEASE = timedelta(hours=1)


@contextmanager
def still_before(words: str, meanwhile: Callable[[], Any]) -> Iterator[None]:
    """Before the first statement that begins so, something else happens."""
    waiting = [meanwhile]

    def wrapper(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if waiting and sql.replace('"', "").startswith(words):
            waiting.pop()()
        return execute(sql, params, many, context)

    with connection.execute_wrapper(wrapper):
        yield
    assert not waiting


@pytest.fixture
def time() -> Iterator[SteppedClock]:
    stepped = SteppedClock()
    with clock.use(stepped):
        yield stepped


@pytest.mark.fault(44)
def test_a_tick_that_stands_still_takes_no_lease_that_another_has_taken(time: SteppedClock) -> None:
    fleet = a_fleet()
    taken: list[int | None] = []

    def another() -> None:
        taken.append(ticking.take_lease(fleet))

    with still_before("UPDATE fleet_lease", another):
        assert ticking.take_lease(fleet) is None
    assert taken == [1]


@pytest.mark.fault(44)
def test_a_tick_that_stands_still_has_no_token_that_another_had_meanwhile(
    time: SteppedClock,
) -> None:
    fleet = a_fleet()

    def another() -> None:
        ticking.take_lease(fleet)
        Lease.objects.filter(fleet=fleet).update(until=None)  # and has given it back

    with still_before("UPDATE fleet_lease", another):
        assert ticking.take_lease(fleet) is None


@pytest.mark.fault(44)
def test_a_tick_that_stood_still_has_a_token_of_its_own(time: SteppedClock) -> None:
    fleet = a_fleet()
    first = ticking.take_lease(fleet)
    time.advance(LONGER_THAN_EVERY_LEASE.total_seconds())
    assert first != ticking.take_lease(fleet)


@pytest.mark.fault(44)
def test_a_verb_that_stands_still_has_no_claim_that_another_took_over(time: SteppedClock) -> None:
    pod = a_pod()
    others: list[Any] = []

    def another() -> None:
        time.advance(LONGER_THAN_EVERY_LEASE.total_seconds())
        claim = lifecycle.claimed(pod.pk)
        others.append((claim, claim.__enter__()))

    # The first has taken its claim; another takes over before the first has read the row.
    with still_before("SELECT pods_pod.id, pods_pod.fleet_id", another):
        with lifecycle.claimed(pod.pk) as mine:
            assert mine is None
        (claim, held), *_ = others
        assert held == pod
        assert Pod.objects.get(pk=pod.pk).claimed_until is not None
        claim.__exit__(None, None, None)
    assert Pod.objects.get(pk=pod.pk).claimed_until is None


@pytest.mark.fault(44)
def test_a_verb_that_stands_still_has_no_claim_that_another_had_meanwhile(
    time: SteppedClock,
) -> None:
    pod = a_pod()

    def another() -> None:
        with lifecycle.claimed(pod.pk) as mine:
            assert mine is not None

    with still_before("UPDATE pods_pod", another), lifecycle.claimed(pod.pk) as mine:
        assert mine is None
