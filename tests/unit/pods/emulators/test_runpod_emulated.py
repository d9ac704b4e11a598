"""The emulated RunPod by itself: its stock, its states and its bill."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pods.emulators.base import SteppedClock
from pods.emulators.bill import Bill
from pods.emulators.runpod_problems import Problem
from pods.emulators.runpod_state import Pod, RunPodState, Status
from tests.support.examples import examples

GPU = "NVIDIA RTX A5000"
REQUEST: dict[str, Any] = {
    "name": "t-1",
    "image": "i",
    "cloud": "COMMUNITY",
    "gpu": {"id": GPU, "count": 1},
}


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def state(clock: SteppedClock) -> RunPodState:
    return RunPodState(clock=clock)


def test_a_bill_is_exact_to_the_second(clock: SteppedClock) -> None:
    bill = Bill()
    bill.set_rate("a", Decimal("0.34"), now=clock())
    clock.advance(1)
    assert bill.total("a", now=clock()) == Decimal("0.34") / 3600
    clock.advance(3599)
    bill.set_rate("a", Decimal("0.68"), now=clock())
    clock.advance(1800)
    assert bill.total("a", now=clock()) == Decimal("0.68")
    bill.set_rate("a", Decimal(0), now=clock())
    clock.advance(10**6)
    assert bill.grand_total(now=clock()) == Decimal("0.68")


def test_a_pod_bills_from_its_creation_to_its_end(state: RunPodState, clock: SteppedClock) -> None:
    pod = state.create(REQUEST)
    clock.advance(1800)
    state.delete(pod.id)
    clock.advance(1800)
    assert state.bill.total(pod.id, now=clock()) == Decimal("0.08")


def test_a_stopped_pod_bills_its_volume_alone(state: RunPodState, clock: SteppedClock) -> None:
    mounts = {"persistent": {"size": 73, "path": "/w"}}
    pod = state.create({**REQUEST, "mounts": mounts})
    state.act(pod.id, "stop")
    clock.advance(3600)
    assert state.bill.total(pod.id, now=clock()) == Decimal("0.02")


def test_stock_runs_out_and_comes_back(state: RunPodState) -> None:
    pods = [state.create(REQUEST) for _ in range(3)]
    with pytest.raises(Problem, match="no longer any instances"):
        state.create(REQUEST)
    state.delete(pods[0].id)
    assert state.create(REQUEST).id not in {p.id for p in pods}


def test_a_stopped_pod_gives_its_gpu_away_and_may_not_get_it_back(state: RunPodState) -> None:
    pods = [state.create(REQUEST) for _ in range(3)]
    state.act(pods[0].id, "stop")
    rival = state.create(REQUEST)
    with pytest.raises(Problem, match="not enough free GPUs"):
        state.act(pods[0].id, "start")
    state.delete(rival.id)
    assert state.act(pods[0].id, "start").status(state.clock()) is Status.PROVISIONING


steps = st.lists(
    st.tuples(
        st.sampled_from(["create", "start", "stop", "restart", "terminate", "fail", "wait"]),
        st.integers(0, 5),
    ),
    max_size=40,
)


@settings(max_examples=examples(200), deadline=None)
@given(steps)
def test_no_gpu_is_lost_or_made_and_no_bill_shrinks_whatever_happens(
    steps: list[tuple[str, int]],
) -> None:
    clock = SteppedClock()
    state = RunPodState(clock=clock)
    gpu = next(g for g in state.catalog if g.id == GPU)
    total, billed = sum(gpu.stock.values()), Decimal(0)
    for action, which in steps:
        try:
            _do(state, clock, action, which)
        except Problem:
            pass
        held = sum(p.count for p in state.living() if p.halted is not Status.EXITED)
        assert sum(gpu.stock.values()) + held == total
        now = state.bill.grand_total(now=clock())
        assert now >= billed
        billed = now


def _do(state: RunPodState, clock: SteppedClock, action: str, which: int) -> None:
    pods = list(state.pods.values())
    if action == "create":
        state.create(REQUEST)
    elif action == "wait":
        clock.advance(0.3)
    elif pods and action == "fail":
        pod = pods[which % len(pods)]
        if pod.halted is None:
            state.fail(pod.id)
    elif pods:
        state.act(pods[which % len(pods)].id, action)


class Containers:
    """Records what runs behind the pods."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.alive: dict[str, Mapping[str, str]] = {}

    def start(self, machine_id: str, env: Mapping[str, str], command: Sequence[str]) -> None:
        self.started.append(machine_id)
        self.alive[machine_id] = env

    def stop(self, machine_id: str) -> None:
        self.alive.pop(machine_id, None)

    def running(self, machine_id: str) -> bool:
        return machine_id in self.alive

    def lines(self, machine_id: str) -> Sequence[str]:
        return [f"env {sorted(self.alive.get(machine_id, {}))}"]


@pytest.fixture
def backed(state: RunPodState) -> tuple[RunPodState, Containers]:
    state.backing = containers = Containers()
    return state, containers


def a_running_pod(state: RunPodState, clock: SteppedClock) -> Pod:
    pod = state.create({**REQUEST, "env": {"A": "1"}})
    clock.advance(60)
    state.tick()
    return pod


def test_a_container_starts_when_the_boot_is_done_with_the_pods_environment(
    backed: tuple[RunPodState, Containers], clock: SteppedClock
) -> None:
    state, containers = backed
    pod = state.create({**REQUEST, "env": {"A": "1"}})
    state.tick()
    assert not containers.alive
    clock.advance(60)
    state.tick()
    assert containers.alive[pod.id] == {
        "A": "1",
        "RUNPOD_POD_ID": pod.id,
        "RUNPOD_API_KEY": f"pod-key-of-{pod.id}",
        "RUNPOD_DC_ID": "US-TX-3",
        "RUNPOD_GPU_COUNT": "1",
    }


@pytest.mark.fault(32)
def test_a_container_that_exits_is_restarted_and_bills_on(
    backed: tuple[RunPodState, Containers], clock: SteppedClock
) -> None:
    state, containers = backed
    pod = a_running_pod(state, clock)
    containers.stop(pod.id)
    state.tick()
    assert containers.started == [pod.id, pod.id]
    assert state.bill.hourly_usd() == Decimal("0.16")


@pytest.mark.parametrize("end", ["stop", "terminate"])
def test_a_container_is_killed_with_its_pod(
    backed: tuple[RunPodState, Containers], clock: SteppedClock, end: str
) -> None:
    state, containers = backed
    pod = a_running_pod(state, clock)
    state.act(pod.id, end)
    clock.advance(60)
    state.tick()
    assert not containers.alive
