"""Hosts of the manager whose clocks differ: claims and leases are judged by the database's clock."""

from datetime import datetime, timedelta

import pytest
from django.db import connection

from fleet.tick import ticking
from pods import lifecycle, spawning
from pods.base import clock
from pods.base.shared_clock import shared_now
from pods.models import Pod
from pods.providers.base import Machine, PodSpec
from tests.support.factories import a_fleet, a_pod
from tests.support.world import World

pytestmark = pytest.mark.django_db
AHEAD = timedelta(minutes=10)
utcnow = clock.utcnow


def ahead() -> datetime:
    """The time on a host whose clock is ahead."""
    return utcnow() + AHEAD


@pytest.fixture
def a_host_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on this process is on a host whose clock is ahead; the database's is not."""
    if connection.vendor != "postgresql":
        pytest.skip("SQLite has no second host")
    wall = clock._wall_clock
    fast = lambda: wall() + AHEAD  # noqa: E731
    monkeypatch.setattr(clock, "_wall_clock", fast)
    monkeypatch.setattr(clock, "_clock", fast)


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


def test_a_stepped_clock_is_the_shared_one_too() -> None:
    then = utcnow() + timedelta(days=1)
    with clock.use(lambda: then):
        assert shared_now() == then
