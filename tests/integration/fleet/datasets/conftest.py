"""A real Redis for the ranges of a fleet, and a folder or an S3 server for its files."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from fleet.models import Fleet
from tests.support.datasets import FLEET, GROUP, STREAM
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
