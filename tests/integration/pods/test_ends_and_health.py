"""Health and the end of a pod with an emulated vendor that has faults."""

from datetime import timedelta

import pytest

from pods import health, teardown
from pods.agent.protocol import MOST_FAILING, AgentState
from pods.base import clock
from pods.emulators.base import Reply
from pods.models import Pod, PriceSegment
from pods.rules import PodRule
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
    assert "no sign of its agent within 300 s" in Pod.objects.get(pk=pod.pk).because


@pytest.mark.parametrize("printed", [True, False])
def test_a_handler_that_never_loads_is_named_with_the_last_line_of_output(
    world: World, printed: bool
) -> None:
    pod = world.spawn(world.requested(boot_seconds=300, handler_env={"A_TOKEN": "t0ps3cret"}))
    for _ in range(4):
        world.beat(pod, AgentState.STARTING)
        world.sweep()
        world.run(100)
    if printed:
        world.rig.state.print_line(str(pod.external_id), "import loads t0ps3cret")
    world.beat(pod, AgentState.STARTING)
    world.sweep()
    because = Pod.objects.get(pk=pod.pk).retire_because
    assert "its agent runs, and its handler did not load within 300 s" in because
    assert ("; its last output: import loads" in because) is printed
    assert "t0ps3cret" not in because


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


def test_a_pod_that_fails_everything_beside_one_that_succeeds_is_ended(world: World) -> None:
    bad, good = world.booted(), world.booted()
    world.listen(90)
    note = "the last 32 items failed: RuntimeError: CUDA error"
    world.beat(bad, done=100, failing=MOST_FAILING, failed=200, note=note)
    world.beat(good, done=100, rate=5.0, uptime_ms=60_000)
    world.sweep()
    assert (state(bad), state(good)) == ("terminating", "ready")
    ended = Pod.objects.get(pk=bad.pk)
    assert ended.retire_rule == PodRule.FAILING
    assert ended.retire_because == f"failing: {note}"


def test_pods_that_all_fail_after_they_worked_are_left_alone(world: World) -> None:
    """A service that all of them need may be away: they take no more than a trickle."""
    pods = [world.booted() for _ in range(3)]
    for pod in pods:
        world.beat(pod, done=100, failing=500)
    world.listen(90)
    assert [state(pod) for pod in pods] == ["ready"] * 3


def test_a_pod_whose_items_are_all_bad_is_not_ended(world: World) -> None:
    """Another pod would fail them too, and this one's host would be avoided for nothing."""
    bad, good = world.booted(), world.booted()
    world.listen(90)
    world.beat(bad, final=500)
    world.beat(good, done=100, rate=5.0, uptime_ms=60_000)
    world.sweep()
    assert (state(bad), state(good)) == ("ready", "ready")


def test_a_pod_that_has_failed_everything_since_it_began_is_ended(world: World) -> None:
    """Its template is tried again after a pause, one pod at a time."""
    pod = world.booted()
    world.beat(pod, failing=500)
    world.listen(90)
    assert state(pod) == "terminating"
    assert Pod.objects.get(pk=pod.pk).retire_rule == PodRule.FAILING


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
