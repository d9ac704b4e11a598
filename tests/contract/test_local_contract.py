"""The contract, tested on machines that are processes of this machine."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.contract.provider_contract import ProviderContract
from tests.support.rigs.local_rig import LocalSubject, a_local_account


@pytest.fixture
def subject(tmp_path: Path) -> Iterator[LocalSubject]:
    with a_local_account(tmp_path) as subject:
        yield subject


class TestLocal(ProviderContract):
    pass
