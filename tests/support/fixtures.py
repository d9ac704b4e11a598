"""Fixtures of more than one folder; the conftest of a folder imports those that its tests use."""

from collections.abc import Iterator

import pytest
import redis

from pods.base import clock
from pods.base.redis import redis_client
from tests.support.rigs.runpod_rig import Rig, runpod
from tests.support.world import World


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    """A client of the manager's kind."""
    return redis_client(redis_url)


@pytest.fixture
def rig() -> Iterator[Rig]:
    """An emulated RunPod."""
    with runpod() as made:
        yield made


@pytest.fixture
def world(rig: Rig, db: None, redis_url: str) -> Iterator[World]:
    """A fleet on it, on the emulator's clock."""
    with clock.use(rig.clock):
        made = World(rig, redis_url)
        yield made
        made.check_history()
