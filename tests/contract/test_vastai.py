"""The contract, tested on the emulated Vast.ai."""

from collections.abc import Iterator

import pytest

from tests.contract.provider_contract import ProviderContract
from tests.support.rigs.vastai_rig import VastaiSubject, beside_strangers


@pytest.fixture
def subject() -> Iterator[VastaiSubject]:
    """An account where the machines of somebody else fill the first page of every list."""
    with beside_strangers() as rig:
        yield VastaiSubject(rig)


class TestVastai(ProviderContract):
    pass
