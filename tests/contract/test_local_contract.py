"""The contract, held by machines that are processes of this machine."""

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

import pytest

from pods.providers.base import PodSpec, Provider
from pods.providers.local import connect
from tests.contract.provider_contract import ProviderContract, a_moment


class LocalSubject:
    """Machines that sleep, in a folder of their own."""

    secret = ""
    unknown_id = "local-nobody"

    def __init__(self, root: Path) -> None:
        self.root = root
        self.provider = self.reconnected()

    def spec(self, tag: str, token: str, **changes: Any) -> PodSpec:
        facts = {"offer_key": "local", "command": ["sleep", "600"], **changes}
        return PodSpec(name=f"{tag}-{token}", tag=tag, **facts)

    def reconnected(self) -> Provider:
        return connect(options={"root": str(self.root)}, secret=None)

    def living(self) -> Collection[str]:
        return [f"local-{f.parent.name}" for f in self.root.glob("*/machine.json")]

    def sent(self) -> int:
        return 0

    def let_pass(self, seconds: float) -> None:
        a_moment(seconds)


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[LocalSubject]:
    subject = LocalSubject(tmp_path / "pods")
    yield subject
    for external_id in subject.living():
        subject.provider.destroy(external_id)


class TestLocal(ProviderContract):
    pass
