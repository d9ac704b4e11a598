"""A real S3 server, which a test may stop and start."""

from collections.abc import Iterator

import pytest

from tests.support.object_store import ObjectStore, object_store


@pytest.fixture
def s3(tmp_path) -> Iterator[ObjectStore]:
    with object_store(tmp_path) as server:
        yield server
