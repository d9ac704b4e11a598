"""Real agents on emulated pods of RunPod drain a real backlog."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from threading import Event
from typing import Any

import pytest

from pods.emulators.backing import CHECKOUT, AgentProcesses
from pods.emulators.base import Server, wall_clock
from pods.emulators.runpod import RunPodEmulator
from pods.emulators.runpod_state import Boot, RunPodState
from pods.providers.base import Machine, OfferQuery, Phase, Provider
from pods.providers.errors import NoCapacity
from pods.providers.runpod import connect
from tests.support.rigs.runpod_rig import DOCUMENT
from tests.support.rigs.vendor_agents import TAG, results, spec, until
from tests.support.vendor_documents import own_schemas, vendor_document, vendor_schemas
from tests.support.waiting import patience

SOLD_OUT = "COMMUNITY:NVIDIA RTX A5000:1:US-TX-3"
CHEAP = OfferQuery(gpu_types=["RTX A5000"], max_hourly_usd=Decimal("0.20"))


@pytest.fixture
def state(agents: AgentProcesses) -> RunPodState:
    boot = Boot(provisioning=0.05, starting=0.05, pulling=0.05)
    return RunPodState(clock=wall_clock(), boot=boot, backing=agents)


@pytest.fixture
def server(state: RunPodState) -> Iterator[Server]:
    with Server(RunPodEmulator(state)) as server:
        server.checks.append(own_schemas("runpod.json"))
        if document := vendor_document(DOCUMENT):
            server.checks.append(vendor_schemas(document))
        yield server
    assert server.complaints == []


@pytest.fixture
def provider(server: Server) -> Provider:
    return connect(options={"base_url": server.url}, secret="any-key-is-good")


def rent(provider: Provider, redis_url: str, token: str) -> Machine:
    offer = provider.offers(CHEAP)[0]
    wanted = spec(f"{TAG}-{token}", redis_url, offer=offer.key)
    return provider.create(wanted, token=token)


@pytest.mark.fault(10)
@pytest.mark.fault(32)
def test_a_backlog_is_drained_although_a_pod_is_stopped_and_one_restarts(
    provider: Provider,
    state: RunPodState,
    server: Server,
    agents: AgentProcesses,
    backlog: Any,
    redis_url: str,
) -> None:
    entries = [backlog.xadd("tasks", {"payload": "0.05"}).decode() for _ in range(400)]
    machines = [rent(provider, redis_url, f"t{n}") for n in range(3)]
    assert not provider.offers(CHEAP)  # the market had three of these
    with pytest.raises(NoCapacity):
        provider.create(spec(f"{TAG}-t9", redis_url, offer=SOLD_OUT), token="t9")
    until(lambda: len(results(backlog)) > 30)
    provider.stop(machines[0].external_id)
    assert not agents.running(machines[0].external_id)
    restarted = machines[1].external_id
    with server.lock:
        agents.stop(restarted)  # it ends by itself, and RunPod restarts the container
    until(lambda: agents.starts.count(restarted) == 2)
    provider.start(machines[0].external_id)
    until(lambda: provider.status(machines[0].external_id).phase is Phase.RUNNING)
    until(lambda: set(results(backlog)) == set(entries))
    until(lambda: backlog.xpending("tasks", "workers")["pending"] == 0)
    for machine in machines:
        provider.destroy(machine.external_id)
    assert provider.list_tagged(TAG) == []
    assert not any(agents.running(m.external_id) for m in machines)
    assert state.bill.hourly_usd() == 0
    assert state.bill.grand_total(now=state.clock()) > 0


def test_the_output_of_an_agent_is_the_log_of_its_pod(
    provider: Provider, backlog: Any, redis_url: str
) -> None:
    machine = rent(provider, redis_url, "t1")
    backlog.xadd("tasks", {"payload": "0"})
    until(lambda: results(backlog))
    assert until(lambda: provider.logs(machine.external_id, tail=5))


def test_the_emulator_is_started_from_the_command_line_and_ends_with_its_agents(
    backlog: Any, redis_url: str, tmp_path: Path
) -> None:
    command = [sys.executable, "manage.py", "emulate", "runpod", "--boot-seconds", "0.2"]
    process = subprocess.Popen(
        [*command, "--key", "good", "--agents", str(tmp_path)],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )
    try:
        assert process.stdout is not None
        assert "runpod is emulated at" in process.stdout.readline()
        said = process.stdout.readline()
        options = json.loads(said[said.index("{") : said.index("}") + 1])
        provider = connect(options=options, secret="good")
        backlog.xadd("tasks", {"payload": "0"})
        rent(provider, redis_url, "t1")
        until(lambda: results(backlog))
        assert [m.phase for m in provider.list_tagged(TAG)] == [Phase.RUNNING]
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=patience(30)) == 0
    key = next(iter(backlog.scan_iter("podfleet:agents:pod:*")))
    before = backlog.hgetall(key)
    Event().wait(1.0)  # five heartbeats would come in this time
    assert backlog.hgetall(key) == before
