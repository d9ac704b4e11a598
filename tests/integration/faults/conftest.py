"""An emulated RunPod, a clean Valkey, and the clock of both."""

from collections.abc import Iterator

import pytest

from pods import clock
from tests.contract.runpod_rig import Rig, runpod
from tests.integration.pods.world import World


@pytest.fixture
def rig() -> Iterator[Rig]:
    with runpod() as made:
        yield made


@pytest.fixture
def world(rig: Rig, db: None, redis_url: str) -> Iterator[World]:
    with clock.use(rig.clock):
        made = World(rig, redis_url)
        yield made
        made.check_history()
