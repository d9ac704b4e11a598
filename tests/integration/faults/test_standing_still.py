"""A process that stands still while it takes a lease or a claim does not use another process's."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
import redis
from django.db import connection

from fleet import operating, stopping
from fleet.models import Fleet, Lease, Limits, Override, Tick
from fleet.tick import ticking
from pods import lifecycle
from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.models import Pod
from tests.support.factories import OFFER, a_fleet, a_pod, an_account

pytestmark = pytest.mark.django_db
LONGER_THAN_EVERY_LEASE = timedelta(hours=1)


@contextmanager
def still_before(words: str, meanwhile: Callable[[], Any]) -> Iterator[None]:
    """Call `meanwhile` before the first statement that begins with `words`."""
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
def test_a_tick_that_stands_still_does_not_take_a_lease_that_another_tick_holds(
    time: SteppedClock,
) -> None:
    fleet = a_fleet()
    taken: list[int | None] = []

    def another() -> None:
        taken.append(ticking.take_lease(fleet))

    with still_before("UPDATE fleet_lease", another):
        assert ticking.take_lease(fleet) is None
    assert taken == [1]


@pytest.mark.fault(44)
def test_a_tick_that_stands_still_does_not_get_a_token_that_another_tick_used(
    time: SteppedClock,
) -> None:
    fleet = a_fleet()

    def another() -> None:
        ticking.take_lease(fleet)
        Lease.objects.filter(fleet=fleet).update(until=None)  # and has released it

    with still_before("UPDATE fleet_lease", another):
        assert ticking.take_lease(fleet) is None


@pytest.mark.fault(44)
def test_a_new_lease_after_an_expired_one_has_a_new_token(time: SteppedClock) -> None:
    fleet = a_fleet()
    first = ticking.take_lease(fleet)
    time.advance(LONGER_THAN_EVERY_LEASE.total_seconds())
    assert first != ticking.take_lease(fleet)


@pytest.mark.fault(48)
@pytest.mark.parametrize("where", ["fleet", "installation", "override", "stop"])
def test_a_tick_that_stood_still_starts_nothing_if_guardrails_were_edited_meanwhile(
    time: SteppedClock, redis_url: str, where: str
) -> None:
    account = an_account(offers=[OFFER], surveyed_at=time())
    fleet = a_fleet(accounts=[account], backlog_url=redis_url, max_instances=3)
    operating.make_group(fleet)
    redis.Redis.from_url(redis_url).xadd(fleet.stream, {"payload": "x"})

    def edited() -> None:
        if where == "fleet":
            operating.edit(Fleet.objects.get(pk=fleet.pk), {"max_instances": 0}, by="operator")
        elif where == "stop":
            stopping.stop_everything(by="operator")
        elif where == "installation":
            Limits.objects.filter(pk=1).update(max_instances=0)
        else:
            words = {"until": time() + timedelta(hours=1), "by": "operator", "because": "wait"}
            Override.objects.create(fleet=fleet, pods=0, **words)

    with still_before("SELECT pods_pod.gpu_type", edited):
        assert ticking.tick_fleet(fleet.pk) is None
    assert not Pod.objects.exists()
    assert not Tick.objects.exists()
    decided = ticking.tick_fleet(fleet.pk)
    assert decided is not None
    assert not decided.spawn


@pytest.mark.fault(44)
def test_a_verb_that_stands_still_does_not_use_a_claim_that_another_verb_took_over(
    time: SteppedClock,
) -> None:
    pod = a_pod()
    others: list[Any] = []

    def another() -> None:
        time.advance(LONGER_THAN_EVERY_LEASE.total_seconds())
        claim = lifecycle.claimed(pod.pk)
        others.append((claim, claim.__enter__()))

    # The first verb has taken its claim; another takes over before the first has read the row.
    with still_before("SELECT pods_pod.id, pods_pod.fleet_id", another):
        with lifecycle.claimed(pod.pk) as mine:
            assert mine is None
        (claim, held), *_ = others
        assert held == pod
        assert Pod.objects.get(pk=pod.pk).claimed_until is not None
        claim.__exit__(None, None, None)
    assert Pod.objects.get(pk=pod.pk).claimed_until is None


@pytest.mark.fault(44)
def test_a_verb_that_stands_still_does_not_get_a_claim_that_another_verb_had_meanwhile(
    time: SteppedClock,
) -> None:
    pod = a_pod()

    def another() -> None:
        with lifecycle.claimed(pod.pk) as mine:
            assert mine is not None

    with still_before("UPDATE pods_pod", another), lifecycle.claimed(pod.pk) as mine:
        assert mine is None


@pytest.mark.fault(44)
def test_a_verb_that_outlived_its_claim_does_not_release_the_claim_of_another(
    time: SteppedClock,
) -> None:
    pod = a_pod()
    with lifecycle.claimed(pod.pk) as first:
        assert first is not None
        time.advance(LONGER_THAN_EVERY_LEASE.total_seconds())
        second = lifecycle._take(pod.pk)
        assert second is not None
    assert Pod.objects.get(pk=pod.pk).claim == second
    with lifecycle.claimed(pod.pk) as third:
        assert third is None


def test_a_claim_is_of_one_pod_although_others_have_claims_with_the_same_number(
    time: SteppedClock,
) -> None:
    one, two = a_pod(), a_pod()
    with lifecycle.claimed(one.pk) as first, lifecycle.claimed(two.pk) as second:
        assert first is not None
        assert second is not None
        assert (first.pk, second.pk, first.claim) == (one.pk, two.pk, second.claim)
        with lifecycle.claimed(one.pk) as third:
            assert third is None
    lifecycle._take(one.pk)
    lifecycle._take(two.pk)
    with mock.patch.object(lifecycle, "_take", return_value=2), lifecycle.claimed(one.pk):
        pass
    held = Pod.objects.filter(claimed_until__isnull=False)
    assert [pod.pk for pod in held] == [two.pk]


def test_a_claim_that_was_taken_over_before_its_row_was_read_is_not_used(
    time: SteppedClock,
) -> None:
    pod, take = a_pod(), lifecycle._take

    def slow(pod_id: int) -> int | None:
        mine = take(pod_id)
        time.advance(LONGER_THAN_EVERY_LEASE.total_seconds())
        assert take(pod_id) is not None
        return mine

    with mock.patch.object(lifecycle, "_take", slow), lifecycle.claimed(pod.pk) as mine:
        assert mine is None
    assert Pod.objects.get(pk=pod.pk).claimed_until is not None
