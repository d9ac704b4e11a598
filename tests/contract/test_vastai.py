"""The contract, held by Vast.ai as it is emulated."""

from collections.abc import Collection, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from pods.emulators.vastai_contracts import Pace
from pods.providers.base import PodSpec, Provider
from tests.contract.provider_contract import ProviderContract
from tests.support.rigs.vastai_rig import KEY, Rig, vast

STRANGERS = 25


class VastaiSubject:
    """An account at the emulator, whose time is stepped."""

    secret = KEY
    unknown_id = "31245678"

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.provider = rig.provider

    def spec(self, tag: str, token: str, **changes: Any) -> PodSpec:
        facts = {"image": "registry.example/worker:1.4.2", "env": {"N": "1"}, **changes}
        facts.setdefault("offer_key", self.rig.offer().key)
        return PodSpec(name=f"{tag}-{token}", tag=tag, **facts)

    def reconnected(self) -> Provider:
        return self.rig.connect()

    def living(self) -> Collection[str]:
        contracts = self.rig.emulator.market.contracts.values()
        return [str(c.id) for c in contracts if not c.label.startswith("stranger")]

    def sent(self) -> int:
        return self.rig.server.calls()

    def let_pass(self, seconds: float) -> None:
        self.rig.clock.advance(seconds)


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
