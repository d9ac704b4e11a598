"""One fleet at an emulated RunPod and an emulated Vast.ai, whose machines run real agents."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Any

import pytest
import redis

from fleet.models import Fleet
from fleet.tick import requesting, ticking
from pods import health, reconciling, resuming, spawning, teardown
from pods.accounts import surveying
from pods.base import clock
from pods.emulators.backing import CHECKOUT, AgentProcesses
from pods.emulators.base import Server, wall_clock
from pods.emulators.runpod import RunPodEmulator
from pods.emulators.runpod_catalog import GpuType
from pods.emulators.runpod_state import Boot, RunPodState
from pods.emulators.vastai import VastaiEmulator
from pods.emulators.vastai_contracts import Contract
from pods.models import MICROS, Account, Pod, PriceSegment
from pods.providers import registry
from pods.providers.base import Provider
from pods.providers.clients import CLIENTS
from pods.states import CREATING, REQUESTED, RESUMING
from tests.support.factories import a_fleet, an_account
from tests.support.rigs.vastai_rig import QUICK
from tests.support.waiting import patience

# Seconds that pass for the vendors and the manager in a real second: their windows last minutes.
SPEED = 20.0
TICK = timedelta(seconds=15)
RECONCILED_EVERY = timedelta(seconds=60)
SURVEYED_EVERY = timedelta(seconds=300)
FAST_CLOCK = Path(__file__).parent / "programs/fast_clock"


def only_4090s(*, community: int) -> list[GpuType]:
    """A RunPod catalog with one type, of which `community` machines are for rent."""
    return [
        GpuType(
            id="NVIDIA GeForce RTX 4090",
            name="RTX 4090",
            memory=24,
            secure_usd=Decimal("0.69"),
            community_usd=Decimal("0.34"),
            stock={("COMMUNITY", "EU-RO-1"): community},
        )
    ]


class FastAgents(AgentProcesses):
    """Agents whose clocks run as fast as those of the vendors, so that their speeds are right."""

    def start(self, machine_id: str, env: Mapping[str, str], command: Sequence[str]) -> None:
        path = os.pathsep.join([str(FAST_CLOCK), str(CHECKOUT)])
        fast = {"PYTHONPATH": path, "CLOCK_SPEED": str(SPEED)}
        super().start(machine_id, {**env, **fast}, command)


@dataclass(slots=True, kw_only=True)
class Market:
    """Both vendors, the fleet, and a worker that runs the due steps."""

    runpod: RunPodState
    runpod_server: Server
    vast: VastaiEmulator
    vast_server: Server
    agents: AgentProcesses
    accounts: dict[str, Account]
    fleet: Fleet
    redis: Any
    reconciled_at: datetime = field(default_factory=clock.utcnow)
    surveyed_at: datetime = field(default_factory=clock.utcnow)
    surveyed_every: timedelta = SURVEYED_EVERY

    def connect(self, account: Account) -> Provider:
        """Without the pace that tests/integration/pods/providers is about: these minutes are short."""
        return registry.create_provider(
            account.provider, options=account.options, secret="any-key-is-good"
        )

    def survey(self) -> None:
        for account in self.accounts.values():
            surveying.survey_account(account, connect=self.connect)
        self.surveyed_at = clock.utcnow()

    def step(self) -> None:
        """What beat and the workers do in a tick's time."""
        for account in self.accounts.values():
            health.sweep_account(account, connect=self.connect)
        for pod in Pod.objects.filter(state__in=["booting", "ready"]):
            health.check_pod(pod.pk, connect=self.connect)
        self._work()
        if clock.utcnow() - self.reconciled_at > RECONCILED_EVERY:
            for account in self.accounts.values():
                reconciling.reconcile_account(
                    account, template_of=requesting.template_of, connect=self.connect
                )
            self.reconciled_at = clock.utcnow()
        if clock.utcnow() - self.surveyed_at > self.surveyed_every:
            self.survey()
        ticking.tick_fleet(self.fleet.pk)
        self._work()

    def _work(self) -> None:
        for pod in Pod.objects.in_transit().filter(due_at__lte=clock.utcnow()).order_by("pk"):
            if pod.status in {REQUESTED, CREATING}:
                spawning.spawn_pod(pod.pk, connect=self.connect)
            elif pod.status is RESUMING:
                resuming.resume_pod(pod.pk, connect=self.connect)
            else:
                teardown.teardown_pod(pod.pk, connect=self.connect)

    def until(self, what: Callable[[], Any], *, seconds: float = 45.0) -> Any:
        """Work until `what()` is true; return its value."""
        pause, now = Event(), wall_clock()
        began = now()
        while now() - began < timedelta(seconds=patience(seconds)):
            if answer := what():
                return answer
            self.step()
            pause.wait(0.2)  # 4 s of the vendors' time; sweeping more often only costs CPU
        pytest.fail(f"it did not hold within {seconds} s: {self.told()}")

    def told(self) -> list[str]:
        """The states of the pods, for the message of a failure."""
        pods = Pod.objects.order_by("pk")
        return [f"{p.provider} {p.state}: {p.because} {p.note}" for p in pods]

    def enqueue(self, count: int, seconds: float) -> list[str]:
        """Enqueue `count` items; a batch of them takes `seconds`."""
        pipe = self.redis.pipeline(transaction=False)
        for _ in range(count):
            pipe.xadd(self.fleet.stream, {"payload": str(seconds)})
        return [entry.decode() for entry in pipe.execute()]

    def results(self) -> list[str]:
        rows = self.redis.xrange(f"{self.fleet.stream}:results")
        return [fields[b"entry"].decode() for _, fields in rows]

    def contract(self, pod: Pod) -> Contract:
        """The contract of a pod at Vast.ai."""
        return self.vast.market.contracts[int(pod.external_id or "")]

    def booked(self, pod: Pod) -> Decimal:
        """The cost of an ended pod in our ledger."""
        segments = PriceSegment.objects.filter(pod=pod)
        assert not segments.filter(until__isnull=True).exists()
        return Decimal(sum(s.cost_micros for s in segments)) / MICROS

    def billed(self, pod: Pod) -> Decimal:
        """The cost of a pod in its vendor's bill."""
        bill = self.runpod.bill if pod.provider == "runpod" else self.vast.market.bill
        return bill.total(pod.external_id or "", now=clock.utcnow())


@contextmanager
def market(
    folder: Path,
    redis_url: str,
    *,
    community: int = 3,
    agents: AgentProcesses | None = None,
    **fleet: Any,
) -> Iterator[Market]:
    """Start both vendors, and make a fleet that may rent from either."""
    agents = agents or AgentProcesses(folder)
    now = wall_clock(speed=SPEED)
    boot = Boot(provisioning=0.05, starting=0.05, pulling=0.05)
    runpod = RunPodState(
        clock=now, boot=boot, backing=agents, catalog=only_4090s(community=community)
    )
    vast = VastaiEmulator(clock=now, pace=QUICK, backing=agents)
    for n in range(6):
        vast.market.add_slot(usd=str(Decimal("0.80") + n * Decimal("0.01")), min_bid=Decimal("0.4"))
    with (
        clock.use(now),
        Server(RunPodEmulator(runpod)) as runpod_server,
        Server(vast) as vast_server,
    ):
        accounts = {
            "runpod": an_account("runpod", options={"base_url": runpod_server.url}),
            "vastai": an_account("vastai", options={"base_url": vast_server.url}),
        }
        made = a_fleet(
            accounts=list(accounts.values()),
            **{
                "image": "registry.example/agent:1",
                "handler": "tests.support.agents.agent_handlers:takes_its_time",
                "batch_size": 4,
                "heartbeat_seconds": 0.2,
                "claim_idle_seconds": 2,
                "boot_seconds": 3600,
                "idle_seconds": 2,
                "target_depth_per_pod": 40,
                "spawn_per_tick": 2,
                **fleet,
            },
        )
        client = redis.Redis.from_url(redis_url, protocol=2)
        client.xgroup_create(made.stream, made.group, "0", mkstream=True)
        try:
            yield Market(
                runpod=runpod, runpod_server=runpod_server, vast=vast, vast_server=vast_server,
                agents=agents, accounts=accounts, fleet=made, redis=client,
            )  # fmt: skip
        finally:
            agents.stop_all()
            client.close()
            CLIENTS.close()
    assert runpod_server.complaints == []
    assert vast_server.complaints == []
