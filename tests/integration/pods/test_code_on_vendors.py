"""A script runs on emulated machines of vendors whose image has no agent, with real processes."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from fleet.models import Fleet
from pods.emulators.backing import AgentProcesses
from pods.emulators.base import Server, wall_clock
from pods.emulators.runpod import RunPodEmulator
from pods.emulators.runpod_state import Boot, RunPodState
from pods.emulators.vastai import VastaiEmulator
from pods.emulators.vastai_catalog import stock
from pods.models import Account, Pod
from tests.support.fixtures import client as client
from tests.support.fleet_command import run
from tests.support.rigs.code_rig import SCRIPT, no_index, step, tiny_wheel
from tests.support.rigs.vastai_rig import QUICK
from tests.support.waiting import until

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AgentProcesses]:
    # The "image": the Python of this test, which has the agent's two dependencies.
    here = str(Path(sys.executable).parent)
    monkeypatch.setenv("PATH", os.pathsep.join([here, os.environ["PATH"]]))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    processes = AgentProcesses(tmp_path / "agents")
    yield processes
    processes.stop_all()


@pytest.fixture
def account(
    agents: AgentProcesses, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Account]:
    vendor = request.param
    monkeypatch.setenv("A_KEY", "any-key-is-good")
    with Server(_emulator(vendor, agents)) as server:
        options = {"base_url": server.url}
        yield Account.objects.create(
            name="rented", provider=vendor, secret_ref="env:A_KEY", options=options
        )
    assert server.complaints == []


def _emulator(vendor: str, agents: AgentProcesses) -> Any:
    if vendor == "runpod":
        boot = Boot(provisioning=0.05, starting=0.05, pulling=0.05)
        return RunPodEmulator(RunPodState(clock=wall_clock(), boot=boot, backing=agents))
    emulator = VastaiEmulator(clock=wall_clock(), pace=QUICK, backing=agents)
    stock(emulator.market, hosts=60)
    return emulator


@pytest.mark.takes(10)
@pytest.mark.parametrize("account", ["runpod", "vastai"], indirect=True)
def test_a_script_runs_on_a_rented_image_that_has_python_alone(
    redis_url: str, tmp_path: Path, account: Account, agents: AgentProcesses, client: Any
) -> None:
    tiny_wheel(tmp_path / "wheels")
    script = tmp_path / "embed.py"
    script.write_text(SCRIPT)
    run(
        "create", "emb", "--script", script, "--account", "rented", "--image", "python:3.12",
        "--stream", "emb", "--group", "emb",
        "--handler-env", json.dumps(no_index(tmp_path / "wheels")),
    )  # fmt: skip
    fleet = Fleet.objects.get(name="emb")
    for number in range(20):
        client.xadd("emb", {"payload": f"text {number}"})
    until(lambda: step(fleet) or client.xlen("emb:results") == 20, 60)
    pod = Pod.objects.get(fleet=fleet)
    printed = "\n".join(agents.lines(str(pod.external_id)))
    assert "podfleet: starting the agent" in printed

    if account.provider != "runpod":
        return
    # RunPod starts a container again that ended: nothing is installed again.
    agents.stop(str(pod.external_id))
    client.xadd("emb", {"payload": "after"})
    until(lambda: step(fleet) or client.xlen("emb:results") == 21, 60)
    again = "\n".join(agents.lines(str(pod.external_id))[len(printed.splitlines()) :])
    assert "podfleet: starting the agent" in again
    assert "Installing" not in again
