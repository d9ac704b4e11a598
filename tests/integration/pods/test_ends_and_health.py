"""Health, the end of a pod and reconciliation with an emulated vendor that has faults."""

from datetime import timedelta

import pytest

from fleet.models import Fleet
from fleet.tick import requesting
from pods import health, lifecycle, spawning, teardown
from pods.accounts import connecting
from pods.agent.protocol import AgentState
from pods.base import clock
from pods.emulators.base import Reply
from pods.models import Account, Installation, Orphan, Pod, PriceSegment
from pods.rules import PodRule
from pods.states import CREATING
from tests.support.rigs.runpod_rig import POD, PODS
from tests.support.world import PROBLEM, World, reply, state

pytestmark = pytest.mark.django_db


def test_a_drain_ends_when_the_agent_reports_it_and_the_end_is_proved(world: World) -> None:
    pod = world.booted()
    assert teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="idle")
    world.work()
    assert state(pod) == "draining"
    world.beat(pod, AgentState.DRAINED)
    world.run(10)
    assert state(pod) == "terminating"
    assert world.living() == []
    window = world.provider.capabilities.consistency_window
    world.run(window.total_seconds() / 2)
    assert state(pod) == "terminating"  # gone, but not proved
    world.run(900, until=lambda: state(pod) == "terminated")
    assert not world.redis.exists(f"podfleet:emb:pod:{pod.name}")


@pytest.mark.fault(39)
def test_a_drain_that_never_ends_is_cut_off_after_drain_seconds(world: World) -> None:
    pod = world.booted()
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="idle")
    for _ in range(20):
        world.beat(pod, AgentState.DRAINING, in_flight=3)
        world.run(5)
    assert state(pod) == "terminating"
    assert "did not drain within 60 s" in Pod.objects.get(pk=pod.pk).because


@pytest.mark.fault(35)
@pytest.mark.parametrize("status", [409, 429, 500, 503])
def test_a_failing_destroy_is_repeated_for_ever_and_the_pod_counts_until_then(
    world: World, status: int
) -> None:
    pod = world.booted()
    world.rig.server.faults.answer("DELETE", POD, reply(status), times=60)
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    world.run(600)
    assert state(pod) == "terminating"
    assert list(Pod.objects.billable()) == [pod]
    assert PriceSegment.objects.get(pod=pod).until is None
    world.rig.server.faults.clear()
    world.run(900, until=lambda: state(pod) == "terminated")


@pytest.mark.fault(36)
def test_a_machine_that_survives_an_accepted_destroy_is_destroyed_again(
    world: World,
) -> None:
    pod = world.booted()
    world.rig.server.faults.answer("DELETE", POD, Reply(status=204), times=50)
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    world.run(300)
    assert (state(pod), len(world.living())) == ("terminating", 1)
    world.rig.server.faults.clear()
    world.run(1200, until=lambda: state(pod) == "terminated")
    assert world.living() == []


@pytest.mark.fault(35)
def test_a_404_to_a_destroy_is_success_but_must_still_be_proved(world: World) -> None:
    pod = world.booted()
    world.rig.state.delete(str(pod.external_id))
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    world.run(30)
    assert state(pod) == "terminating"
    world.run(900, until=lambda: state(pod) == "terminated")


@pytest.mark.fault(16)
@pytest.mark.fault(17)
def test_a_pod_that_never_registers_is_destroyed_after_its_deadline(world: World) -> None:
    pod = world.spawn(world.requested(boot_seconds=300))
    world.sweep()
    world.run(295)
    world.sweep()
    assert state(pod) == "booting"
    world.run(10)
    world.sweep()
    assert state(pod) == "terminating"
    assert "never booted" in Pod.objects.get(pk=pod.pk).because


@pytest.mark.fault(26)
def test_a_pod_deleted_in_the_console_is_lost_only_outside_the_window(world: World) -> None:
    pod = world.booted()
    world.rig.clock.advance(600)  # the machine is no longer new, so lists show it
    world.rig.state.delete(str(pod.external_id))
    world.beat(pod)
    world.sweep()
    assert state(pod) == "ready"
    world.rig.clock.advance(60)
    world.sweep()
    assert state(pod) == "ready"
    world.rig.clock.advance(120)
    world.sweep()
    # this vendor can bring exited containers back, so the end is proved like any other
    world.run(900, until=lambda: state(pod) in {"lost", "terminated"})
    assert state(pod) == "lost"
    assert PriceSegment.objects.get(pod=pod).until is not None


@pytest.mark.fault(29)
def test_a_machine_that_its_status_shows_is_not_missing_any_more(world: World) -> None:
    pod = world.booted()
    Pod.objects.filter(pk=pod.pk).update(absent_since=clock.utcnow())
    health.check_pod(pod.pk, connect=world.connect)
    pod.refresh_from_db()
    assert (pod.state, pod.absent_since) == ("ready", None)


@pytest.mark.fault(30)
@pytest.mark.parametrize(
    "answer",
    [
        reply(500),
        Reply(status=200, json=[]),
        Reply(status=200, json={"error": "x"}),
        Reply(status=200, text="<html>", content_type="text/html"),
        Reply(status=401, json={"title": "x", "status": 401}, content_type=PROBLEM),
    ],
    ids=["500", "a bare list", "an error as 200", "a page", "401"],
)
def test_a_failed_list_says_nothing_about_any_pod(world: World, answer: Reply) -> None:
    pods = [world.booted() for _ in range(2)]
    for _ in range(5):
        world.rig.clock.advance(120)
        for pod in pods:
            world.beat(pod)
        world.rig.server.faults.answer("GET", PODS, answer, times=9)
        health.sweep_account(world.account, connect=world.connect)
        world.rig.server.faults.clear()
    assert {state(pod) for pod in pods} == {"ready"}
    assert not Pod.objects.exclude(absent_since=None).exists()


@pytest.mark.fault(19)
def test_a_pod_without_heartbeat_that_still_touches_the_stream_is_not_ended(world: World) -> None:
    pod = world.booted()
    world.redis.xgroup_create("embedding_tasks", "embedding_tasks", "0", mkstream=True)
    world.redis.xadd("embedding_tasks", {"payload": "x"})
    world.redis.xreadgroup("embedding_tasks", pod.name, {"embedding_tasks": ">"})
    world.redis.delete(f"podfleet:emb:pod:{pod.name}")
    world.rig.clock.advance(200)
    world.sweep()
    assert state(pod) == "ready"


@pytest.mark.fault(20)
def test_a_pod_without_any_sign_is_written_off_and_fenced(world: World) -> None:
    pod = world.booted()
    world.redis.delete(f"podfleet:emb:pod:{pod.name}")
    world.rig.clock.advance(200)
    world.sweep()
    assert state(pod) == "terminating"
    world.work()
    assert world.redis.exists(f"podfleet:emb:pod:{pod.name}:fence")
    assert world.living() == []


@pytest.mark.fault(18)
def test_a_pod_with_heartbeats_that_acknowledges_nothing_is_hung(world: World) -> None:
    pod = world.booted()
    hour = 3_600_000
    world.beat(pod, in_flight=5, oldest_ms=hour, since_ack_ms=hour)
    world.listen(1190)
    assert state(pod) == "ready"  # until then an outage of Redis could be the reason
    world.listen(60)
    assert state(pod) == "terminating"


def test_a_long_idle_pod_with_a_new_item_is_not_hung(world: World) -> None:
    pod = world.booted()
    world.beat(pod, in_flight=1, oldest_ms=50, since_ack_ms=36_000_000)
    world.sweep()
    assert state(pod) == "ready"


def test_only_a_share_is_ended_when_many_pods_look_ill_at_once(world: World) -> None:
    pods = [world.booted() for _ in range(6)]
    for pod in pods:
        world.redis.delete(f"podfleet:emb:pod:{pod.name}")
    world.rig.clock.advance(200)
    world.sweep()
    world.rig.clock.advance(30)
    world.sweep()
    killed = [pod for pod in pods if state(pod) == "terminating"]
    assert 1 <= len(killed) <= 2


@pytest.mark.fault(45)
def test_redis_down_does_not_make_a_pod_ill(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    pods = [world.booted() for _ in range(3)]
    Pod.objects.update(redis_url="redis://127.0.0.1:1/0")
    world.rig.clock.advance(5000)
    world.sweep()
    assert {state(pod) for pod in pods} == {"ready"}


@pytest.mark.fault(27)
def test_a_tagged_machine_without_a_row_is_destroyed_after_two_sightings(world: World) -> None:
    request = {**world.rig.state.pods[str(world.booted().external_id)].request}
    orphan = world.rig.state.create({**request, "name": f"{world.tag}-{'ab' * 16}"})
    foreign = world.rig.state.create({**request, "name": "somebody-elses"})
    world.reconcile()
    assert Orphan.objects.get().external_id == orphan.id
    assert len(world.living()) == 3
    world.rig.clock.advance(300)
    assert world.reconcile().destroyed == [orphan.id]
    assert Pod.objects.filter(external_id=orphan.id, state="terminating").exists()
    world.run(900, until=lambda: orphan.id not in world.living())
    assert foreign.id in world.living()


@pytest.mark.parametrize("rest", ["²-" + "ab" * 16, "x", "9" * 18])
def test_one_of_our_machines_with_an_odd_name_does_not_stop_a_reconciliation(
    world: World, rest: str
) -> None:
    request = {**world.rig.state.pods[str(world.booted().external_id)].request}
    odd = world.rig.state.create({**request, "name": f"{Installation.tag()}-{rest}"})
    orphan = world.rig.state.create({**request, "name": f"{world.tag}-{'ab' * 16}"})
    world.reconcile()
    assert Orphan.objects.get(external_id=odd.id).fleet_id is None
    world.rig.clock.advance(300)
    assert sorted(world.reconcile().destroyed) == sorted([odd.id, orphan.id])
    assert not Pod.objects.filter(external_id=odd.id).exists()


def test_an_orphan_is_adopted_if_the_operator_chose_that(world: World) -> None:
    Account.objects.update(orphans="adopt")
    world.account.refresh_from_db()
    request = {**world.rig.state.pods[str(world.booted().external_id)].request}
    orphan = world.rig.state.create({**request, "name": f"{world.tag}-{'ab' * 16}"})
    world.reconcile()
    world.rig.clock.advance(300)
    assert world.reconcile().adopted == [orphan.id]
    adopted = Pod.objects.get(external_id=orphan.id)
    assert adopted.state == "booting"
    world.run(60)
    world.beat(adopted)
    world.sweep()
    assert state(adopted) == "ready"


def test_an_adopted_pod_is_destroyed_after_its_drain_although_the_newest_pod_was_to_be_stopped(
    world: World,
) -> None:
    Account.objects.update(orphans="adopt")
    world.account.refresh_from_db()
    newest = world.booted()
    Pod.objects.filter(pk=newest.pk).update(stop_when_idle=True, retire_rule="idle")
    request = {**world.rig.state.pods[str(newest.external_id)].request}
    orphan = world.rig.state.create({**request, "name": f"{world.tag}-{'ab' * 16}"})
    world.reconcile()
    world.rig.clock.advance(300)
    assert world.reconcile().adopted == [orphan.id]
    adopted = Pod.objects.get(external_id=orphan.id)
    assert (adopted.stop_when_idle, adopted.retire_rule) == (False, "")
    world.run(60)
    world.beat(adopted)
    world.sweep()
    adopted.refresh_from_db()
    teardown.retire_pod(adopted, by="ann", rule=PodRule.OPERATOR, because="enough")
    world.beat(adopted, AgentState.DRAINED)
    world.run(300, until=lambda: state(adopted) == "terminated")
    assert orphan.id not in world.living()


def test_a_machine_of_a_fleet_without_pods_gets_a_row_with_the_fleets_values(
    world: World,
) -> None:
    Fleet.objects.update(backlog_url="redis://elsewhere.example:6379/0", boot_seconds=77)
    request = {"gpu": {"id": world.rig.state.catalog[0].id, "count": 1}, "image": "i", "env": {}}
    orphan = world.rig.state.create({**request, "name": f"{world.tag}-{'ab' * 16}"})
    world.reconcile()
    world.rig.clock.advance(300)
    assert world.reconcile().destroyed == [orphan.id]
    row = Pod.objects.get(external_id=orphan.id)
    assert (row.state, row.fleet_id, row.tag) == ("terminating", world.fleet.pk, world.tag)
    assert (row.name, row.client_token.hex) == (f"{world.tag}-{'ab' * 16}", "ab" * 16)
    assert (row.redis_url, row.boot_seconds) == ("redis://elsewhere.example:6379/0", 77)
    assert row.agent == requesting.agent_settings(world.fleet)


def test_a_living_machine_of_an_ended_row_counts_again_and_is_destroyed(world: World) -> None:
    pod = world.booted()
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    world.run(900, until=lambda: state(pod) == "terminated")
    ended = Pod.objects.get(pk=pod.pk)
    back = world.rig.state.pods[str(ended.external_id)]
    back.halted, back.listed_until = None, None
    world.rig.clock.advance(60)
    assert world.reconcile().resurrected == [ended.external_id]
    assert list(Pod.objects.billable()) == [ended]
    world.run(1200, until=lambda: state(pod) == "terminated")


@pytest.mark.fault(36)
def test_a_machine_that_was_proved_gone_and_lives_is_booked_for_the_whole_time(
    world: World,
) -> None:
    pod = world.booted()
    machine = world.rig.state.pods[str(pod.external_id)]
    world.rig.server.faults.answer("DELETE", POD, Reply(status=204), times=50)
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    machine.known_from = machine.listed_from = clock.utcnow() + timedelta(days=365)
    world.run(900, until=lambda: state(pod) == "terminated")
    world.rig.clock.advance(5 * 3600)
    machine.known_from = machine.listed_from = clock.utcnow()
    world.rig.server.faults.clear()
    assert world.reconcile().resurrected == [pod.external_id]
    assert _booked(pod) == pytest.approx(_billed(world, pod), abs=0.001)
    world.run(1200, until=lambda: state(pod) == "terminated")
    assert _booked(pod) == pytest.approx(_billed(world, pod), abs=0.001)


def test_a_machine_whose_spawn_was_given_up_is_booked_since_it_was_asked_for(
    world: World,
) -> None:
    pod = world.requested()
    lifecycle.move(pod, CREATING, by="test", because="claimed", asked_at=clock.utcnow())
    machine = world.provider.create(
        connecting.spec(pod, redis_url="redis://redis:6379/0"), token=pod.client_token.hex
    )
    spawning._give_up(pod, PodRule.NO_ANSWER, "no answer")
    assert not PriceSegment.objects.filter(pod=pod).exists()
    world.rig.clock.advance(3600)
    assert world.reconcile().resurrected == [machine.external_id]
    assert _booked(pod) == pytest.approx(
        float(world.rig.state.bill.total(machine.external_id, now=clock.utcnow())), abs=0.001
    )


def test_a_machine_without_a_row_is_booked_since_it_was_first_seen(world: World) -> None:
    pod = world.booted()
    Pod.objects.filter(pk=pod.pk).delete()
    world.reconcile()
    first_seen = clock.utcnow()
    world.rig.clock.advance(3600)
    world.reconcile()
    row = Pod.objects.get()
    assert (row.external_id, row.state) == (pod.external_id, "terminating")
    assert PriceSegment.objects.get(pod=row).since == first_seen


def _booked(pod: Pod) -> float:
    return float(sum(s.cost_usd(clock.utcnow()) for s in PriceSegment.objects.filter(pod=pod)))


def _billed(world: World, pod: Pod) -> float:
    return float(world.rig.state.bill.total(str(pod.external_id), now=clock.utcnow()))


@pytest.mark.fault(28)
def test_a_price_that_the_vendor_changes_is_booked_from_that_time_on(world: World) -> None:
    pod = world.booted()
    before = pod.hourly_usd
    world.rig.state.pods[str(pod.external_id)].hourly_usd = before * 2
    world.rig.clock.advance(3600)
    world.beat(pod)
    world.sweep()
    pod.refresh_from_db()
    assert pod.hourly_usd == before * 2
    segments = list(PriceSegment.objects.filter(pod=pod).order_by("pk"))
    assert [s.hourly_usd for s in segments] == [before, before * 2]
    assert segments[0].until is not None


def test_the_ledger_differs_from_the_vendors_bill_by_at_most_one_tick(world: World) -> None:
    pod = world.booted()
    world.rig.clock.advance(3 * 3600)
    world.beat(pod)
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    world.run(900, until=lambda: state(pod) == "terminated")
    ours = sum(s.cost_micros for s in PriceSegment.objects.filter(pod=pod)) / 1_000_000
    theirs = float(world.rig.state.bill.total(str(pod.external_id), now=world.rig.clock()))
    tick = float(pod.hourly_usd) * timedelta(seconds=15).total_seconds() / 3600
    assert abs(ours - theirs) <= tick


@pytest.mark.fault(35)
def test_tasks_that_arrive_too_early_prove_nothing(world: World) -> None:
    pod = world.booted()
    world.rig.clock.advance(600)  # the machine is no longer new, so lists show it
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    for _ in range(5):  # at once, as duplicated messages and nudges do
        teardown.teardown_pod(pod.pk, connect=world.connect)
        world.rig.clock.advance(2)
    assert world.living() == []
    assert state(pod) == "terminating"
    world.run(900, until=lambda: state(pod) == "terminated")


@pytest.mark.fault(9)
def test_a_machine_that_both_readings_lack_is_still_destroyed(world: World) -> None:
    world.rig.state.list_lag = 10_000
    pod = world.spawn(world.requested())
    body = {"title": "Not Found", "status": 404, "detail": "pod not found"}
    hidden = Reply(status=404, json=body, content_type=PROBLEM)
    world.rig.server.faults.answer("GET", POD, hidden, times=500)
    teardown.retire_pod(pod, by="test", rule=PodRule.OPERATOR, because="x", drain=False)
    world.run(20)
    assert world.living() == []
