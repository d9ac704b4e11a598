"""A vendor to rent from, and a stream."""

from collections.abc import Iterator

import pytest
import redis

from pods.base.redis import redis_client
from tests.support.rigs.runpod_rig import Rig, runpod


@pytest.fixture
def rig() -> Iterator[Rig]:
    with runpod() as made:
        yield made


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return redis_client(redis_url)
