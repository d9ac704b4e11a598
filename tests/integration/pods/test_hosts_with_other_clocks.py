"""Hosts of the manager whose clocks differ: claims and leases are judged by the database's clock."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from django.db import connection

from fleet.tick import ticking
from pods import dispatch, health, lifecycle, spawning, tasks, teardown
from pods.accounts import breaker
from pods.base import clock
from pods.base.shared_clock import shared_now
from pods.models import Account, Pod
from pods.providers.base import Machine, PodSpec, Provider
from pods.providers.errors import Unavailable
from pods.providers.local.options import Options
from pods.providers.local.provider import LocalProvider
from pods.states import READY, TERMINATING
from tests.support.factories import a_fleet, a_pod, an_account
from tests.support.world import World

pytestmark = pytest.mark.django_db
AHEAD = timedelta(minutes=10)
utcnow = clock.utcnow


def ahead() -> datetime:
    """The time on a host whose clock is ahead."""
    return utcnow() + AHEAD


@pytest.fixture
def a_host_ahead(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """From here on this process is on a host whose clock is ahead; the database's is not.

    SQLite has no clock of its own, so another one stands for it there.
    """
    wall = clock._wall_clock
    fast = lambda: wall() + AHEAD  # noqa: E731
    if connection.vendor != "postgresql":
        with clock.use(fast, shared=wall):
            yield
        return
    monkeypatch.setattr(clock, "_wall_clock", fast)
    monkeypatch.setattr(clock, "_clock", fast)
    yield


def test_a_host_whose_clock_is_ahead_takes_no_claim_and_no_lease_of_another(
    request: pytest.FixtureRequest,
) -> None:
    pod, fleet = a_pod(), a_fleet()
    with lifecycle.claimed(pod.pk) as mine:
        assert mine is not None
        assert ticking.take_lease(fleet) is not None
        request.getfixturevalue("a_host_ahead")
        assert utcnow() - shared_now() > AHEAD / 2
        with lifecycle.claimed(pod.pk) as theirs:
            assert theirs is None
        assert ticking.take_lease(fleet) is None
        lifecycle.still_claimed(mine)  # the same host, whose clock was set meanwhile


def test_a_host_whose_clock_is_ahead_makes_no_second_machine(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.rig.state.list_lag = 60
    pod, create, made = world.requested(), world.provider.create, []

    def slow(spec: PodSpec, *, token: str) -> Machine:
        made.append(create(spec, token=token))
        if len(made) == 1:
            world.rig.clock.advance(20)
            monkeypatch.setattr(lifecycle, "utcnow", ahead)
            monkeypatch.setattr(spawning, "utcnow", ahead)
            spawning.spawn_pod(pod.pk, connect=world.connect)
            # the first host dies before it gives its claim back, and the claim ends
            Pod.objects.filter(pk=pod.pk).update(claimed_until=None)
            spawning.spawn_pod(pod.pk, connect=world.connect)
        return made[0]

    monkeypatch.setattr(world.provider, "create", slow)
    spawning.spawn_pod(pod.pk, connect=world.connect)
    world.rig.clock.advance(300)
    world.work()
    assert len(world.living()) == 1
    assert Pod.objects.get(pk=pod.pk).external_id == made[0].external_id


@pytest.fixture
def machines(tmp_path: Path) -> Provider:
    """A provider that has no machine."""
    return LocalProvider(Options.parse({"root": str(tmp_path / "pods")}))


def test_a_host_ahead_proves_no_end_early(
    request: pytest.FixtureRequest, machines: Provider, redis_url: str
) -> None:
    pod = a_pod(a_fleet(), TERMINATING, external_id="local-t1")
    teardown.teardown_pod(pod.pk, connect=lambda _: machines)
    pod.refresh_from_db()
    assert pod.absent_since is not None
    request.getfixturevalue("a_host_ahead")
    teardown.teardown_pod(pod.pk, connect=lambda _: machines)
    pod.refresh_from_db()
    assert pod.state == TERMINATING.value


def test_a_host_ahead_stores_since_when_a_machine_is_missing_by_the_shared_clock(
    a_host_ahead: None, machines: Provider, redis_url: str
) -> None:
    account = an_account()
    pod = a_pod(a_fleet(accounts=[account]), READY, external_id="local-t1")
    health.sweep_account(account, connect=lambda _: machines)
    pod.refresh_from_db()
    account.refresh_from_db()
    assert pod.absent_since is not None
    assert account.swept_at is not None
    for stored in (pod.absent_since, account.swept_at):
        assert stored <= shared_now()


def test_a_host_ahead_keeps_to_the_pause_of_an_account(request: pytest.FixtureRequest) -> None:
    account = an_account()
    for _ in range(breaker.FAILURES_TO_OPEN):
        breaker.failed(account, Unavailable("no answer"))
    request.getfixturevalue("a_host_ahead")
    assert breaker.why_unused(account, now=shared_now())
    breaker.failed(account, Unavailable("no answer"))
    breaker.answered(account)
    stored = Account.objects.get(pk=account.pk)
    assert stored.failures == breaker.FAILURES_TO_OPEN
    assert stored.open_until is not None
    assert stored.open_until <= shared_now() + breaker.FIRST_PAUSE


def test_a_pause_that_a_host_ahead_begins_is_not_longer(a_host_ahead: None) -> None:
    account = an_account()
    for _ in range(breaker.FAILURES_TO_OPEN):
        breaker.failed(account, Unavailable("no answer"))
    assert account.open_until is not None
    assert account.open_until <= shared_now() + breaker.FIRST_PAUSE


def test_a_step_is_due_by_the_shared_clock(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    pod, sent = a_pod(a_fleet(), TERMINATING), list[int]()
    monkeypatch.setattr(dispatch, "next_step", lambda pod_id, _: sent.append(pod_id))
    lifecycle.postpone(pod, by=AHEAD / 2)
    request.getfixturevalue("a_host_ahead")
    tasks.nudge()
    assert sent == []
    lifecycle.postpone(pod, by=timedelta(0))
    assert pod.due_at is not None
    assert pod.due_at <= shared_now()


def test_a_stepped_clock_is_the_shared_one_too() -> None:
    then = utcnow() + timedelta(days=1)
    with clock.use(lambda: then):
        assert shared_now() == then
