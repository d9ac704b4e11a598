"""The contract, tested on the emulated RunPod."""

from collections.abc import Iterator

import pytest

from tests.contract.provider_contract import ProviderContract
from tests.support.rigs.runpod_rig import RunPodSubject, runpod


@pytest.fixture(params=[None, 3], ids=["one list", "pages of three"])
def subject(request: pytest.FixtureRequest) -> Iterator[RunPodSubject]:
    with runpod(page_size=request.param) as rig:
        yield RunPodSubject(rig)


class TestRunPod(ProviderContract):
    pass
