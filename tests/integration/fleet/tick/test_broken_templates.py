"""A template whose pods fail costs few pods, says why everywhere, raises one alert, and heals.

Each play makes the same queries, so on PostgreSQL only those of the broken fleet that heals, and of the
pages, run.
"""

from datetime import timedelta
from decimal import Decimal
from io import StringIO

import pytest
from django.core.management import call_command
from rich.console import Console

from fleet import operating
from fleet.decision.values import Mode
from fleet.models import Alert, Fleet
from fleet.pages import terminal
from fleet.pages.overview import overview
from fleet.pages.status import status_of
from fleet.tick import requesting, ticking
from pods.accounts import machine_logs
from pods.agent.protocol import AgentState
from pods.base import clock
from pods.emulators.runpod_state import Boot
from pods.models import Pod
from pods.states import TERMINATED
from tests.support.factories import a_pod
from tests.support.rigs.runpod_rig import Rig, runpod
from tests.support.stage import Stage
from tests.support.world import reply

pytestmark = pytest.mark.django_db
TEN_MINUTES = timedelta(minutes=10)
WHY = "mine:embed cannot be loaded: ImportError: CUDA driver too old"
LOGS = r"/v2/pods/[^/]+/logs"
SLOW_PULL = Boot(provisioning=10, starting=10, pulling=280)  # an image of 20 GB


def a_stage(rig: Rig, redis_url: str, *, logs: bool = False, **fleet: object) -> Stage:
    """`logs`: RunPod has logs. Its stream has no end, so each reading takes some seconds."""
    rig.server.checks.clear()
    if not logs:
        rig.server.faults.answer("GET", LOGS, reply(500), times=10**6)
    rig.state.balance_usd = Decimal(10_000)
    stage = Stage(rig, redis_url, "runpod", **{"max_instances": 3, "spawn_per_tick": 3, **fleet})
    stage.enqueue(1_000)
    return stage


def up(stage: Stage, rig: Rig, pod: Pod) -> bool:
    return rig.state.pods[str(pod.external_id)].up_since(stage.clock()) is not None


def fails(stage: Stage, rig: Rig) -> None:
    """From now on the agent of each pod that is up gives up."""
    stage.behave = lambda pod: up(stage, rig, pod) and stage.beat(pod, AgentState.FAILED, note=WHY)


def proven(stage: Stage) -> None:
    """The template worked yesterday."""
    Fleet.objects.update(proven_template=requesting.template_hash(stage.fleet))


def measured(stage: Stage) -> None:
    """It worked yesterday, with a known speed."""
    proven(stage)
    old = a_pod(stage.fleet, TERMINATED, gpu_type="RTX 4090", gpu_count=1, done=10_000, rate=5.0)
    before = clock.utcnow() - timedelta(days=1)
    Pod.objects.filter(pk=old.pk).update(requested_at=before, ready_at=before, state_since=before)


@pytest.mark.one_database
@pytest.mark.takes(6)
@pytest.mark.parametrize(
    ("history", "boot"),
    [
        pytest.param(None, None, id="new"),
        pytest.param(proven, SLOW_PULL, id="proven_slow_pull"),
        pytest.param(measured, SLOW_PULL, id="measured_slow_pull"),
    ],
)
def test_an_agent_that_gives_up_costs_four_pods_in_ten_minutes_and_raises_one_alert(
    redis_url: str, history: object, boot: Boot | None
) -> None:
    with runpod(**({"boot": boot} if boot else {})) as rig, clock.use(rig.clock):
        stage = a_stage(rig, redis_url)
        if callable(history):
            history(stage)
        fails(stage, rig)
        stage.run(minutes=40, every=30)
        assert stage.most_within(TEN_MINUTES) <= 4
        assert len(stage.requested()) <= 7
        assert list(Alert.objects.filter(severity="critical").values_list("cause", flat=True)) == [
            "boots_fail"
        ]
        assert WHY in stage.open_alerts()["boots_fail"]
        assert WHY in stage.last.sentence


@pytest.mark.one_database
@pytest.mark.takes(20)
def test_pods_that_never_boot_cost_one_pod_in_each_boot_deadline_and_longer_pauses(
    redis_url: str,
) -> None:
    with runpod() as rig, clock.use(rig.clock):
        stage = a_stage(rig, redis_url, boot_seconds=120)
        stage.run(minutes=30, every=30)
        assert stage.most_within(TEN_MINUTES) <= 4
        assert len(stage.requested()) <= 5
        assert "never booted: no sign of its agent within 120 s" in stage.last.sentence
        assert list(stage.open_alerts()) == ["boots_fail"]


@pytest.mark.one_database
@pytest.mark.takes(10)
def test_a_vendor_that_gives_less_than_was_ordered_is_not_asked_at_once_again(
    redis_url: str,
) -> None:
    with runpod() as rig, clock.use(rig.clock):
        stage = a_stage(rig, redis_url)
        rig.state.gpuless = 1000
        stage.run(minutes=30, every=30)
        assert stage.most_within(TEN_MINUTES) <= 4
        assert len(stage.requested()) <= 6
        assert "0 GPUs instead of 1 GPU" in stage.last.sentence
        assert list(stage.open_alerts()) == ["boots_fail"]


def test_the_reason_is_wherever_a_fleet_is_shown(redis_url: str) -> None:
    with runpod() as rig, clock.use(rig.clock):
        stage = a_stage(rig, redis_url)
        fails(stage, rig)
        stage.run(minutes=4)
        [card] = overview().cards
        assert WHY in card.sentence
        assert WHY in card.trouble
        fleet = Fleet.objects.get()
        assert WHY in status_of(fleet).trouble
        shown = Console(file=StringIO(), width=4000)
        shown.print(terminal.render(status_of(fleet)))  # of `show` and of `watch`
        assert WHY in shown.file.getvalue()
        for arguments in (["next", "emb"], ["list", "--json"], ["show", "emb", "--json"]):
            out = StringIO()
            call_command("fleet", *arguments, stdout=out)
            assert WHY in out.getvalue(), arguments


def test_a_failed_pod_keeps_what_its_agent_said_and_the_end_of_its_output(redis_url: str) -> None:
    with runpod() as rig, clock.use(rig.clock):
        token = "hf_0123456789abcdef"
        stage = a_stage(rig, redis_url, logs=True, handler_env={"HF_TOKEN": token})
        stage.step()
        pod = Pod.objects.get()
        lines = ["x" * 90] * 200 + [f"using {token}", "ImportError: no CUDA"]
        now = rig.clock()
        rig.state.pods[str(pod.external_id)].lines += [(now, "container", line) for line in lines]
        fails(stage, rig)
        stage.run(minutes=0.75)
        pod.refresh_from_db()
        assert (pod.last_note, pod.retire_rule) == (WHY, "agent_failed")
        assert pod.last_output.splitlines()[-2:] == ["using ***", "ImportError: no CUDA"]
        assert len(pod.last_output.splitlines()) == machine_logs.KEPT_LINES
        assert pod.failed_at is not None


@pytest.mark.one_database
def test_a_log_that_cannot_be_read_is_asked_for_once_and_delays_no_end(redis_url: str) -> None:
    with runpod() as rig, clock.use(rig.clock):
        stage = a_stage(rig, redis_url)
        fails(stage, rig)
        rig.server.faults.answer("DELETE", r"/v2/pods/[^/]+", reply(500), times=20)
        stage.run(minutes=0.75)
        pod = Pod.objects.get()
        assert (pod.state, pod.last_output) == ("terminating", "")
        logs = f"/v2/pods/{pod.external_id}/logs"
        asked = rig.server.calls("GET", logs)
        assert asked
        assert pod.output_asked_at is not None
        stage.run(minutes=12, every=30)
        pod.refresh_from_db()
        assert (pod.state, rig.server.calls("GET", logs)) == ("terminated", asked)


def test_the_next_try_heals_the_fleet_without_a_command(redis_url: str) -> None:
    with runpod() as rig, clock.use(rig.clock):
        stage = a_stage(rig, redis_url)
        fails(stage, rig)
        stage.run(minutes=10, every=30)
        broken = len(stage.requested())
        assert list(stage.open_alerts()) == ["boots_fail"]
        stage.behave = lambda pod: up(stage, rig, pod) and stage.beat(pod, done=5, rate=1.0)
        stage.run(minutes=12, every=30)
        assert stage.open_alerts() == {}
        assert Pod.objects.filter(state="ready").count() == 3
        assert len(stage.requested()) == broken + 3
        assert status_of(Fleet.objects.get()).trouble == ""


@pytest.mark.one_database
def test_an_operator_can_try_again_at_once(redis_url: str) -> None:
    with runpod() as rig, clock.use(rig.clock):
        stage = a_stage(rig, redis_url)
        fails(stage, rig)
        stage.run(minutes=10, every=30)
        before = len(stage.requested())
        assert stage.last.binding == "brake"
        operating.set_mode(Fleet.objects.get(), Mode.RUNNING, by="ann")
        stage.step()
        assert len(stage.requested()) == before + 1
        stage.run(minutes=5, every=30)
        assert len(stage.requested()) == before + 1  # the pause after it is a long one again


@pytest.mark.one_database
def test_another_template_begins_anew_and_the_old_one_is_not_forgotten(redis_url: str) -> None:
    with runpod() as rig, clock.use(rig.clock):
        stage = a_stage(rig, redis_url)
        fails(stage, rig)
        stage.run(minutes=10)
        before = len(stage.requested())
        fleet = Fleet.objects.get()
        operating.edit(fleet, {"image": "registry.example/agent:2"}, by="ann")
        stage.step()
        assert len(stage.requested()) == before + 1
        assert stage.last.failing == 0
        operating.edit(Fleet.objects.get(), {"image": "registry.example/agent:1"}, by="ann")
        stage.run(minutes=2)
        assert stage.last.failing == 4
        assert len(stage.requested()) == before + 1


@pytest.mark.one_database
def test_a_ready_pod_that_takes_items_and_finishes_none_is_a_failure_too(redis_url: str) -> None:
    with runpod() as rig, clock.use(rig.clock):
        stage = a_stage(rig, redis_url)
        beats = {"in_flight": 4, "uptime_ms": 60_000}

        def ends_soon(pod: Pod) -> None:
            ready = pod.state == "ready"
            stage.beat(pod, AgentState.DRAINED if ready else AgentState.WORKING, **beats)

        stage.behave = lambda pod: up(stage, rig, pod) and ends_soon(pod)
        stage.run(minutes=15, every=30)
        assert stage.most_within(TEN_MINUTES) <= 4
        assert "boots_fail" in stage.open_alerts()
        assert "agent ended" in stage.last.sentence


def test_a_preview_sees_the_same_pause_and_writes_nothing(redis_url: str) -> None:
    with runpod() as rig, clock.use(rig.clock):
        stage = a_stage(rig, redis_url)
        fails(stage, rig)
        stage.run(minutes=3)
        count = Pod.objects.count()
        assert ticking.preview(Fleet.objects.get()).binding == "brake"
        assert Pod.objects.count() == count
