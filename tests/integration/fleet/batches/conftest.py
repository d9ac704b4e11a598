"""The official client of the OpenAI API, and a fleet that it speaks to."""

from collections.abc import Iterator
from typing import Any

import openai
import pytest

from fleet import operating, tokens
from fleet.models import Fleet, Scope
from fleet.roles import make_groups
from tests.support.api import a_person
from tests.support.factories import a_fleet
from tests.support.rigs.agent_rig import Agents, Backlog


@pytest.fixture
def fleet(live_server: Any, redis_url: str) -> Fleet:
    made = a_fleet(name="emb", stream="texts", group="texts")
    operating.make_group(made)
    return made


@pytest.fixture
def client(live_server: Any, fleet: Fleet, settings: Any) -> Iterator[openai.OpenAI]:
    from django.contrib.auth.models import Group, Permission

    settings.API_REQUESTS_PER_MINUTE = 10**6
    make_groups(Group, Permission)  # another test may have emptied the database
    ann = a_person("ann", "operator")
    _, secret = tokens.make_token(ann, "client", Scope.OPERATE, by="tests")
    with openai.OpenAI(base_url=f"{live_server.url}/openai/emb/v1", api_key=secret) as made:
        yield made


@pytest.fixture
def backlog(redis_url: str) -> Backlog:
    made = Backlog(redis_url, group=False)
    made.stream = made.group = "texts"
    return made


@pytest.fixture
def agents() -> Iterator[Agents]:
    made = Agents()
    yield made
    made.kill_all()
