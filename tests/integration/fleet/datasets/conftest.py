"""A real Redis for the ranges of a fleet, and a folder or an S3 server for its files."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from config.env import ROOT
from fleet.models import Fleet
from fleet.tick.requesting import agent_settings
from pods.agent.protocol import AgentSettings
from tests.support.datasets import FLEET, GROUP, STREAM, Start
from tests.support.factories import a_fleet
from tests.support.fixtures import client as client
from tests.support.object_store import ObjectStore, object_store


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[ObjectStore]:
    with object_store(tmp_path) as server:
        yield server


@pytest.fixture
def fleet(db: None, redis_url: str) -> Fleet:
    return a_fleet(name=FLEET, backlog="dataset", stream=STREAM, group=GROUP)


@pytest.fixture
def start(fleet: Fleet, redis_url: str, tmp_path: Path) -> Iterator[Start]:
    """Starts a real agent with the fleet's own settings."""
    started: list[subprocess.Popen[bytes]] = []

    def agent(pod: str, handler: str = "slow", **env: str) -> subprocess.Popen[bytes]:
        told = AgentSettings(redis_url=redis_url, pod=pod, **agent_settings(fleet))
        settings = {**told.env(), "PODFLEET_HANDLER": f"dataset_handlers:{handler}"}
        settings |= {"PODFLEET_CLAIM_IDLE_SECONDS": "1", "PODFLEET_HEARTBEAT_SECONDS": "0.2"}
        folder = str(ROOT / "tests" / "support" / "agents")
        with (tmp_path / f"{pod}.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "pods.agent"], cwd=ROOT, stdout=log, stderr=log,
                env={**os.environ, "PYTHONPATH": folder, "PACE_SECONDS": "0.0005", **settings, **env},
            )  # fmt: skip
        started.append(process)
        return process

    yield agent
    for process in started:
        process.kill()
        process.wait()
