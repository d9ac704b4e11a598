"""A real Valkey, a backlog on it, and real agent processes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pods.agent import loop, stream
from tests.support.rigs.agent_rig import Agents, Backlog, Server
from tests.support.rigs.agent_steps import A_MOMENT, Agent, Noted
from tests.support.waiting import until


@pytest.fixture
def own_server(tmp_path: Path) -> Iterator[Server]:
    """For tests that kill or fill it."""
    server = Server(tmp_path)
    yield server
    server.kill()


@pytest.fixture
def backlog(redis_url: str) -> Backlog:
    return Backlog(redis_url)


@pytest.fixture
def agents() -> Iterator[Agents]:
    started = Agents()
    yield started
    started.kill_all()


@pytest.fixture(name="until")
def until_fixture() -> Callable[..., Any]:
    return until


@pytest.fixture(name="backlog_on")
def backlog_class() -> type[Backlog]:
    return Backlog


@pytest.fixture
def agent(backlog: Backlog, monkeypatch: pytest.MonkeyPatch) -> Agent:
    """An agent whose steps the test makes. It waits only for a moment."""
    monkeypatch.setattr(loop, "Stream", Noted)
    monkeypatch.setattr(stream, "LONGEST_BLOCK_MS", 1)
    monkeypatch.setattr(loop, "IDLE_STEP_SECONDS", A_MOMENT)
    return Agent(backlog)
