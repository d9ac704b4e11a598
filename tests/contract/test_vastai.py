"""The contract, held by Vast.ai as it is emulated."""

from collections.abc import Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from pods.emulators.vastai_contracts import Pace
from tests.contract.provider_contract import ProviderContract
from tests.support.rigs.vastai_rig import STRANGERS, VastaiSubject, vast


@pytest.fixture
def subject() -> Iterator[VastaiSubject]:
    """An account where somebody else's machines fill the first page of every list."""
    with vast(slots=12, pace=Pace(leaving=timedelta(seconds=3))) as rig:
        rig.emulator.quirks.log_refusals = 1
        market = rig.emulator.market
        for number in range(STRANGERS):
            facts: dict[str, Any] = {"label": f"stranger-{number}", "image": "i", "args": []}
            slot = market.add_slot()
            market.rent(slot, bid=None, cancel=True, disk=Decimal(8), env={}, **facts)
        yield VastaiSubject(rig)


class TestVastai(ProviderContract):
    pass
