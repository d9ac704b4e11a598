"""A real S3 server, which a test may stop and start, and agents that run or do not."""

from collections.abc import Callable, Iterator

import pytest

from pods.agent.dataset import credentials
from tests.support.object_store import ObjectStore, object_store
from tests.support.rigs.agent_in_steps import AgentInSteps
from tests.support.rigs.dataset_rig import Dataset


@pytest.fixture
def s3(tmp_path) -> Iterator[ObjectStore]:
    with object_store(tmp_path) as server:
        yield server


@pytest.fixture
def dataset(backlog, agents, tmp_path) -> Dataset:
    return Dataset.in_folder(backlog, agents, tmp_path)


@pytest.fixture
def rig_of(backlog, tmp_path) -> Iterator[Callable[..., AgentInSteps]]:
    """Make an agent that does not run."""
    yield lambda name="a", **settings: AgentInSteps(backlog, tmp_path, name, **settings)
    credentials.use(dict)


@pytest.fixture
def rig(rig_of) -> AgentInSteps:
    return rig_of()
