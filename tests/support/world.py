"""The verbs of the supply side against an emulated RunPod, on a stepped clock."""

import subprocess
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import redis

from fleet.models import Fleet
from fleet.tick import requesting
from pods import health, reconciling, resuming, spawning, teardown
from pods.accounts import connecting
from pods.agent.protocol import AgentState, Heartbeat
from pods.base import clock
from pods.emulators.base import Reply
from pods.models import Account, Installation, Pod, PodEvent
from pods.providers.base import Provider
from pods.states import (
    CREATING,
    DRAINING,
    REQUESTED,
    RESUMING,
    STOPPING,
    TERMINATING,
    PodState,
    may_move,
)
from tests.support.factories import a_fleet, a_pod, an_account
from tests.support.rigs.runpod_rig import Rig

STEP_SECONDS = 5
SWEEP_SECONDS = 60
ASKED = {"image": "registry.example/worker:1.4.2", "disk_gb": 40, "gpu_count": 1}
PROBLEM = "application/problem+json"
# Starts the agent of a pod; arguments: the pod, the address of its Redis, items per second.
Start = Callable[..., "subprocess.Popen[bytes]"]
SPAWNS = {REQUESTED, CREATING}
TEARDOWNS = {DRAINING, STOPPING, TERMINATING}


class World:
    """One fleet at one account, and a worker that runs the due steps."""

    def __init__(self, rig: Rig, redis_url: str) -> None:
        self.rig, self.redis = rig, redis.Redis.from_url(redis_url, protocol=2)
        self.account: Account = an_account("runpod", options={})
        self.fleet: Fleet = a_fleet(accounts=[self.account], name="emb")
        self.provider: Provider = rig.provider

    def connect(self, _account: Account) -> Provider:
        return self.provider

    def requested(self, **values: Any) -> Pod:
        """A pod's row as a tick writes it before the spawn."""
        offer = self.rig.offer()
        asked = {**ASKED, "offer_key": offer.key, "hourly_usd": offer.hourly_usd, **values}
        return a_pod(self.fleet, REQUESTED, **asked)

    def spawn(self, pod: Pod) -> Pod:
        spawning.spawn_pod(pod.pk, connect=self.connect)
        pod.refresh_from_db()
        return pod

    def booted(self) -> Pod:
        pod = self.spawn(self.requested())
        self.run(60)
        self.beat(pod)
        self.sweep()
        pod.refresh_from_db()
        assert pod.state == "ready"
        return pod

    def beat(
        self,
        pod: Pod,
        state: AgentState = AgentState.WORKING,
        *,
        seconds_ago: float = 0,
        **values: Any,
    ) -> None:
        """Write a heartbeat, as the pod's agent does."""
        seconds, micros = self.redis.time()
        said = Heartbeat(state=state, **values).fields()
        at_ms = seconds * 1000 + micros // 1000 - int(seconds_ago * 1000)
        fields: dict[Any, Any] = {**said, "at_ms": str(at_ms)}
        self.redis.hset(connecting.keys(pod).pod(pod.name), mapping=fields)

    def sweep(self) -> None:
        """Run a health sweep, and check every pod that may need it."""
        self.account.refresh_from_db()
        health.sweep_account(self.account, connect=self.connect)
        for pod in Pod.objects.filter(state__in=["booting", "ready", "stopped"]):
            health.check_pod(pod.pk, connect=self.connect)

    def listen(self, seconds: float, *, every: float = SWEEP_SECONDS) -> None:
        """Let time pass with a sweep `every` so many seconds, and one at the end."""
        end = clock.utcnow() + timedelta(seconds=seconds)
        while clock.utcnow() < end:
            self.sweep()
            self.rig.clock.advance(min(every, (end - clock.utcnow()).total_seconds()))
        self.sweep()

    def reconcile(self) -> reconciling.Reconciled:
        return reconciling.reconcile_account(
            self.account,
            template_of=requesting.template_of,
            adopts=requesting.adopts,
            connect=self.connect,
        )

    def work(self) -> None:
        """Run the step of each pod that is due."""
        for pod in Pod.objects.in_transit().filter(due_at__lte=clock.utcnow()).order_by("pk"):
            if pod.status in SPAWNS:
                spawning.spawn_pod(pod.pk, connect=self.connect)
            elif pod.status is RESUMING:
                resuming.resume_pod(pod.pk, connect=self.connect)
            elif pod.status in TEARDOWNS:
                teardown.teardown_pod(pod.pk, connect=self.connect)

    def run(self, seconds: float, *, until: Callable[[], bool] | None = None) -> None:
        """Let time pass while the worker runs; stop early when `until()` is true."""
        end = clock.utcnow() + timedelta(seconds=seconds)
        while clock.utcnow() < end:
            self.work()
            if until is not None and until():
                return
            self.rig.clock.advance(STEP_SECONDS)
        assert until is None or until(), f"it did not hold within {seconds} s"

    def living(self) -> list[str]:
        """The machines that bill at the vendor."""
        return [p.id for p in self.rig.state.living()]

    def check_history(self) -> None:
        """Check that every move is in the table, and that the events lead to the row's state (S6)."""
        for pod in Pod.objects.all():
            state = ""
            for event in PodEvent.objects.filter(pod=pod).exclude(after=""):
                assert event.before == state
                assert not state or may_move(PodState(state), PodState(event.after))
                state = event.after
            assert state == pod.state

    @property
    def tag(self) -> str:
        return f"{Installation.tag()}-{self.fleet.pk}"


def reply(status: int) -> Reply:
    """An error answer of RunPod."""
    body = {"title": "x", "status": status, "detail": "x"}
    return Reply(status=status, json=body, content_type=PROBLEM)


def state(pod: Pod) -> str:
    """The state in the pod's row now."""
    return str(Pod.objects.values_list("state", flat=True).get(pk=pod.pk))
