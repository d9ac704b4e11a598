"""One odd machine, price or Redis server hides no other pod of the account."""

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import pytest
from django.db import DataError

from pods import health
from pods.agent_redis import consumers, heartbeats, redis_users
from pods.costs import segments
from pods.models import Account, Pod
from pods.providers.base import Machine, PodSpec
from pods.states import READY
from tests.support.factories import a_fleet, a_pod
from tests.support.world import World, state

pytestmark = pytest.mark.django_db


def test_a_machine_whose_name_somebody_made_too_long_gets_a_row_beside_the_others(
    world: World,
) -> None:
    request = {**world.rig.state.pods[str(world.booted().external_id)].request}
    token = "ab" * 16
    renamed = world.rig.state.create({**request, "name": f"{world.tag}-{'n' * 120}-{token}"})
    other = world.rig.state.create({**request, "name": f"{world.tag}-{'cd' * 16}"})
    Account.objects.update(orphans="adopt")
    world.account.refresh_from_db()
    world.reconcile()
    world.rig.clock.advance(300)
    assert sorted(world.reconcile().adopted) == sorted([renamed.id, other.id])
    # its agent beats under the name of its create
    assert Pod.objects.get(external_id=renamed.id).name == f"{world.tag}-{token}"


@pytest.mark.parametrize("bad", ["\0", "\ud800"], ids=["NUL", "half a surrogate pair"])
def test_a_text_that_cannot_be_stored_hides_no_machine(
    world: World, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    list_tagged, create = world.provider.list_tagged, world.provider.create
    odd = {"gpu_type": f"G{bad}", "region": bad, "host": bad, "raw_status": bad, "because": bad}

    def odd_list(tag: str) -> list[Machine]:
        found = [replace(m, **odd) for m in list_tagged(tag)]
        return [replace(m, external_id=f"odd{bad}", token="", name=f"{m.name}{bad}") for m in found[:1]] + found  # fmt: skip

    def odd_create(spec: PodSpec, *, token: str) -> Machine:
        return replace(create(spec, token=token), **odd)

    monkeypatch.setattr(world.provider, "create", odd_create)
    pod = world.booted()
    assert pod.gpu_type == "G\N{REPLACEMENT CHARACTER}"
    monkeypatch.setattr(world.provider, "list_tagged", odd_list)
    world.beat(pod, done=7)
    world.sweep()
    pod.refresh_from_db()
    assert pod.done == 7
    world.reconcile()
    world.rig.clock.advance(300)
    assert len(world.reconcile().destroyed) == 1


def test_a_price_that_one_row_does_not_take_hides_no_other_pod(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd, other = world.booted(), world.booted()
    reprice = segments.reprice

    def refused(pod: Pod, price: Decimal, *, now: datetime) -> None:
        if pod.pk == odd.pk:
            raise DataError("numeric field overflow")
        reprice(pod, price, now=now)

    monkeypatch.setattr(segments, "reprice", refused)
    world.beat(other, done=7)
    for machine in world.rig.state.pods.values():
        machine.hourly_usd += 1
    world.account.refresh_from_db()
    health.sweep_account(world.account, connect=world.connect)
    before = odd.hourly_usd
    odd.refresh_from_db()
    other.refresh_from_db()
    assert (odd.hourly_usd, other.hourly_usd, other.done) == (before, before + 1, 7)


def test_a_machine_whose_id_no_row_takes_hides_no_other_machine(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = {**world.rig.state.pods[str(world.booted().external_id)].request}
    other = world.rig.state.create({**request, "name": f"{world.tag}-{'cd' * 16}"})
    list_tagged = world.provider.list_tagged

    def with_an_odd_one(tag: str) -> list[Machine]:
        found = list(list_tagged(tag))
        odd = replace(found[0], external_id="m" * 300, name=f"{world.tag}-x", token="")
        return [odd, *found]

    monkeypatch.setattr(world.provider, "list_tagged", with_an_odd_one)
    world.reconcile()
    world.rig.clock.advance(300)
    assert other.id in world.reconcile().destroyed


def test_a_redis_that_is_gone_hides_no_pod_of_another_fleet(world: World) -> None:
    gone = "redis://127.0.0.1:1/0"
    dead = a_pod(
        a_fleet(accounts=[world.account], name="aaa"), READY,
        redis_url=gone, account=world.account, external_id="m1",
    )  # fmt: skip
    pod = world.spawn(world.requested())
    world.run(60)
    world.beat(pod, done=7)
    world.sweep()
    assert state(pod) == "ready"
    pod.refresh_from_db()
    dead.refresh_from_db()
    assert (pod.done, dead.heard_since, dead.state) == (7, None, "ready")
    assert heartbeats.read([pod, dead]).unheard == {dead.pk}
    with pytest.raises(heartbeats.HeartbeatsUnknown):
        heartbeats.read([dead])


@pytest.mark.parametrize("url", ["redis://host:port/0", "nonsense", "redis://a..b/0"])
def test_an_address_that_means_no_server_hides_its_own_pods_alone(world: World, url: str) -> None:
    odd, pod = world.booted(), world.booted()
    Pod.objects.filter(pk=odd.pk).update(redis_url=url)
    odd.refresh_from_db()
    world.beat(pod, done=7)
    readings = heartbeats.read([odd, pod])
    assert (readings.unheard, set(readings.beats)) == ({odd.pk}, {pod.pk})
    assert consumers.sweep() == 0
    redis_users.keep()
