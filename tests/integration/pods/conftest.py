"""Fixtures: an emulated RunPod, a clean Valkey, the clock of both, and real agents."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from config.env import ROOT
from pods.accounts import connecting
from pods.models import Pod
from tests.support.fixtures import client as client
from tests.support.fixtures import rig as rig
from tests.support.fixtures import world as world
from tests.support.world import Start


@pytest.fixture
def start() -> Iterator[Start]:
    """Start the agent of a pod with the environment of its machine."""
    running: list[subprocess.Popen[bytes]] = []

    def begin(pod: Pod, address: str, *, rate: int = 10) -> "subprocess.Popen[bytes]":
        env = connecting.spec(pod, redis_url=address).env
        pace = {"PACE_RATE": str(rate), "PYTHONPATH": str(ROOT)}
        agent = subprocess.Popen(
            [sys.executable, "-m", "pods.agent"],
            cwd=ROOT,
            env={**os.environ, **env, **pace},
            start_new_session=True,
        )
        running.append(agent)
        return agent

    yield begin
    for agent in running:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(agent.pid, signal.SIGKILL)
        agent.wait()
