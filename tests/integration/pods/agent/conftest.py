"""A real Valkey, a backlog on it, and real agent processes."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.rigs.agent_rig import Agents, Backlog, Server
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
