"""Vendors to rent from."""

from collections.abc import Iterator

import pytest

from tests.support.rigs.runpod_rig import Rig, runpod


@pytest.fixture
def rig() -> Iterator[Rig]:
    with runpod() as made:
        yield made
