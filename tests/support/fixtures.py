"""Fixtures for more than one folder; a folder's conftest imports those that its tests use."""

from collections.abc import Iterator

import pytest
import redis

from pods.base import clock
from pods.base.redis import redis_client
from pods.emulators.base import SteppedClock
from tests.support.factories import NOON
from tests.support.rigs.runpod_rig import Rig, runpod
from tests.support.world import World


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    """A Redis client as the manager makes it."""
    return redis_client(redis_url)


@pytest.fixture
def time() -> Iterator[SteppedClock]:
    """The manager's clock: it stands at noon until a test moves it."""
    stepped = SteppedClock(NOON)
    with clock.use(stepped):
        yield stepped


@pytest.fixture
def rig() -> Iterator[Rig]:
    """An emulated RunPod."""
    with runpod() as made:
        yield made


@pytest.fixture
def world(rig: Rig, db: None, redis_url: str) -> Iterator[World]:
    """A fleet at the emulated RunPod, on the emulator's clock."""
    with clock.use(rig.clock):
        made = World(rig, redis_url)
        yield made
        made.check_history()
