"""What a vendor's emulated machines run, and work for it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis

from pods.emulators.backing import AgentProcesses


@pytest.fixture
def agents(tmp_path: Path) -> Iterator[AgentProcesses]:
    """The agents of an emulator; they end with the test."""
    running = AgentProcesses(tmp_path)
    yield running
    running.stop_all()


@pytest.fixture
def backlog(redis_url: str) -> Iterator[Any]:
    """A stream with a group, and nothing on it."""
    client = redis.Redis.from_url(redis_url, protocol=2)
    client.xgroup_create("tasks", "workers", "0", mkstream=True)
    yield client
    client.close()
