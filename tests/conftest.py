"""What all tests share."""

import os
from collections.abc import Iterator

import pytest
import redis


@pytest.fixture
def redis_url() -> Iterator[str]:
    """The address of a clean database on a real Valkey."""
    url = os.environ["REDIS_URL"]
    client = redis.Redis.from_url(url, protocol=2)
    client.flushall()
    yield url
    client.flushall()
    client.close()
