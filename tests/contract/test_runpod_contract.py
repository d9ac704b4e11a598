"""The contract, held by RunPod as it is emulated."""

from collections.abc import Collection, Iterator
from typing import Any

import pytest

from pods.providers.base import PodSpec, Provider
from tests.contract.provider_contract import ProviderContract
from tests.support.rigs.runpod_rig import KEY, Rig, runpod


class RunPodSubject:
    """An account at the emulator, whose time is stepped."""

    secret = KEY
    unknown_id = "7h9k2m4n6p"

    def __init__(self, rig: Rig) -> None:
        self.rig = rig
        self.provider = rig.provider

    def spec(self, tag: str, token: str, **changes: Any) -> PodSpec:
        facts = {"image": "registry.example/worker:1.4.2", "env": {"N": "1"}, **changes}
        facts.setdefault("offer_key", self.rig.offer(min_vram_gb=20).key)
        return PodSpec(name=f"{tag}-{token}", tag=tag, **facts)

    def reconnected(self) -> Provider:
        return self.rig.connect()

    def living(self) -> Collection[str]:
        return [pod.id for pod in self.rig.state.living()]

    def sent(self) -> int:
        return self.rig.server.calls()

    def let_pass(self, seconds: float) -> None:
        self.rig.clock.advance(seconds)


@pytest.fixture(params=[None, 3], ids=["one list", "pages of three"])
def subject(request: pytest.FixtureRequest) -> Iterator[RunPodSubject]:
    with runpod(page_size=request.param) as rig:
        yield RunPodSubject(rig)


class TestRunPod(ProviderContract):
    pass
