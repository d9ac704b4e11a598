"""A worker that dies between two writes of one price leaves a ledger that is right, or is mended."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from unittest import mock

import pytest

from pods import lifecycle, spawning
from pods.base import clock
from pods.costs import segments
from pods.models import Account, Orphan, Pod, PodEvent, PriceSegment
from pods.providers.base import Machine
from pods.rules import PodRule
from pods.states import CREATING, TERMINATING
from tests.support.world import World

pytestmark = pytest.mark.django_db
DEAR = Decimal("7.5")


class Killed(BaseException):
    """The process dies here."""


def booked(pod: Pod) -> list[Decimal]:
    """The price of each segment, the oldest first; the last one is open."""
    found = list(PriceSegment.objects.filter(pod=pod).order_by("since", "pk"))
    assert [s.until is None for s in found] == [False] * (len(found) - 1) + [True]
    assert all(a.until == b.since for a, b in pairwise(found))
    return [s.hourly_usd for s in found]


@contextmanager
def priced(world: World, hourly_usd: Decimal | None) -> Iterator[None]:
    """The vendor's lists name this price; None: they name none."""
    listed: list[Machine] = [
        replace(m, hourly_usd=hourly_usd) for m in world.provider.list_tagged(world.tag)
    ]
    with mock.patch.object(world.provider, "list_tagged", return_value=listed):
        yield


def sweep_at(world: World, hourly_usd: Decimal) -> None:
    """Run a sweep in which the vendor names this price."""
    with priced(world, hourly_usd):
        world.sweep()


@pytest.mark.parametrize("killed_in", [(segments, "reprice"), (lifecycle, "move")])
def test_a_kill_after_the_create_call_leaves_the_row_and_the_ledger_at_one_price(
    world: World, killed_in: tuple[object, str]
) -> None:
    pod = world.requested(hourly_usd=Decimal("0.01"))
    lifecycle.move(pod, CREATING, by="test", because="claimed")
    world.rig.clock.advance(world.provider.capabilities.list_lag.total_seconds() + 1)
    with mock.patch.object(*killed_in, side_effect=Killed), pytest.raises(Killed):
        spawning.spawn_pod(pod.pk, connect=world.connect)
    assert len(world.living()) == 1
    world.rig.clock.advance(200)
    world.run(120)
    world.beat(pod)
    world.sweep()
    pod.refresh_from_db()
    assert pod.state == "ready"
    assert pod.hourly_usd != Decimal("0.01")
    assert booked(pod)[-1] == pod.hourly_usd


def test_a_kill_while_a_vendors_new_price_is_booked_loses_nothing(world: World) -> None:
    pod = world.booted()
    before = pod.hourly_usd
    with mock.patch.object(segments, "reprice", side_effect=Killed), pytest.raises(Killed):
        sweep_at(world, DEAR)
    pod.refresh_from_db()
    assert (pod.hourly_usd, booked(pod)) == (before, [before])
    world.beat(pod)
    sweep_at(world, DEAR)
    pod.refresh_from_db()
    assert (pod.hourly_usd, booked(pod)) == (DEAR, [before, DEAR])
    assert PodEvent.objects.filter(pod=pod, because__startswith="price ").count() == 1


def test_a_kill_within_a_new_price_keeps_the_old_segment_open(world: World) -> None:
    pod = world.booted()
    with (
        mock.patch.object(PriceSegment.objects, "create", side_effect=Killed),
        pytest.raises(Killed),
    ):
        segments.reprice(pod, Decimal(9), now=clock.utcnow())
    assert booked(pod) == [pod.hourly_usd]


def test_a_sweep_mends_a_ledger_that_has_another_price_than_the_row(world: World) -> None:
    pod = world.booted()
    PriceSegment.objects.filter(pod=pod).update(hourly_usd=Decimal("0.01"))
    world.rig.clock.advance(60)
    world.beat(pod)
    world.sweep()
    assert booked(pod) == [Decimal("0.01"), pod.hourly_usd]
    world.sweep()
    assert booked(pod) == [Decimal("0.01"), pod.hourly_usd]


def test_a_sweep_mends_a_ledger_that_ended_while_its_pod_runs(world: World) -> None:
    pod = world.booted()
    segments.close(pod, at=clock.utcnow())
    world.rig.clock.advance(3600)
    world.beat(pod)
    world.sweep()
    assert booked(pod) == [pod.hourly_usd]


def test_a_price_that_a_sweep_saw_before_the_pods_end_opens_no_segment(world: World) -> None:
    pod = world.booted()
    stale = Pod.objects.get(pk=pod.pk)
    lifecycle.move(pod, TERMINATING, by="test", because="x")
    segments.close(pod, at=clock.utcnow())
    lifecycle.follow_price(stale, hourly_usd=DEAR, booked_usd=None)
    pod.refresh_from_db()
    assert pod.hourly_usd != DEAR
    assert not PriceSegment.objects.filter(pod=pod, until=None).exists()


def test_a_kill_while_a_spawn_gives_up_books_nothing_for_a_machine_that_is_not_there(
    world: World,
) -> None:
    pod = world.requested()
    lifecycle.move(pod, CREATING, by="test", because="claimed")
    with mock.patch.object(segments, "never_billed", side_effect=Killed), pytest.raises(Killed):
        spawning._give_up(pod, PodRule.NO_ANSWER, "no answer")
    pod.refresh_from_db()
    assert pod.state == "creating"
    world.rig.clock.advance(60)
    spawning._give_up(pod, PodRule.NO_ANSWER, "no answer")
    assert not PriceSegment.objects.filter(pod=pod).exists()


def test_a_price_with_many_decimals_is_booked_once(world: World) -> None:
    pod = world.booted()
    before = pod.hourly_usd
    for _ in range(3):
        world.rig.clock.advance(60)
        world.beat(pod)
        sweep_at(world, Decimal("0.34567891234"))
    assert booked(pod) == [before, Decimal("0.345679")]
    assert PodEvent.objects.filter(pod=pod, because__startswith="price ").count() == 1


@pytest.mark.parametrize("orphans", Account.Orphans.values)
def test_a_machine_without_a_row_and_without_a_price_counts_as_its_fleets_dearest_pod(
    world: World, orphans: str
) -> None:
    Account.objects.update(orphans=orphans)
    known = world.booted()
    lost = world.spawn(world.requested())
    Pod.objects.filter(pk=lost.pk).delete()
    with priced(world, None):
        world.reconcile()
        assert Orphan.objects.get().hourly_usd == known.hourly_usd
        world.rig.clock.advance(120)
        world.reconcile()
    row = Pod.objects.get(external_id=lost.external_id)
    assert row.hourly_usd == known.hourly_usd
    assert row.stopped_hourly_usd == 0  # the vendor says that it has no volume
    assert booked(row) == [known.hourly_usd]


def test_an_orphans_price_is_taken_over_as_soon_as_the_vendor_says_it(world: World) -> None:
    lost = world.spawn(world.requested())
    Pod.objects.filter(pk=lost.pk).delete()
    Account.objects.update(offers=[{"key": "o", "hourly_usd": "3", "remaining": None}])
    world.account.refresh_from_db()
    with priced(world, None):
        world.reconcile()
    assert Orphan.objects.get().hourly_usd == 3
    with priced(world, Decimal(2)):
        world.reconcile()
    assert Orphan.objects.get().hourly_usd == 2


def test_without_any_known_price_an_orphan_costs_nothing_on_paper_and_still_counts(
    world: World,
) -> None:
    lost = world.spawn(world.requested())
    Pod.objects.filter(pk=lost.pk).delete()
    with priced(world, None):
        world.reconcile()
    assert Orphan.objects.get().hourly_usd == 0
