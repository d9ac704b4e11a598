"""A real S3 server, which a test may stop and start."""

from collections.abc import Iterator

import pytest

from tests.support.object_store import ObjectStore, object_store
from tests.support.rigs.dataset_rig import Dataset


@pytest.fixture
def s3(tmp_path) -> Iterator[ObjectStore]:
    with object_store(tmp_path) as server:
        yield server


@pytest.fixture
def dataset(backlog, agents, tmp_path) -> Dataset:
    return Dataset.in_folder(backlog, agents, tmp_path)
