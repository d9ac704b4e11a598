"""A tick of a fleet whose names or address an older version let pass."""

import io
from unittest import mock

import pytest
from django.core.management import call_command

from fleet import operating
from fleet.backlog import probes
from fleet.models import Fleet, Tick
from fleet.tick import requesting, ticking
from pods.states import READY
from tests.support.factories import OFFER, a_fleet, a_pod, an_account
from tests.support.items import add_items

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet(redis_url: str) -> Fleet:
    account = an_account(offers=[OFFER])
    made: Fleet = a_fleet(accounts=[account], name="emb", max_instances=5, target_depth_per_pod=10)
    Fleet.objects.update(proven_template=requesting.template_hash(made))
    operating.make_group(made)
    return made


def tick(fleet: Fleet) -> Tick:
    assert ticking.tick_fleet(fleet.pk) is not None
    return Tick.objects.order_by("-pk")[0]


def test_a_fleet_with_a_refused_name_starts_nothing_and_says_so(
    fleet: Fleet, redis_url: str
) -> None:
    add_items(redis_url, 100)
    Fleet.objects.update(results="embedding_tasks")
    decided = tick(fleet)
    assert (decided.depth, decided.spawned) == (None, 0)
    assert "is the backlog itself" in decided.sentence


@pytest.mark.parametrize(
    "query", ["visibility_timeout=3600", "decode_responses=True", "protocol=3", "nonsense=1"]
)
def test_a_word_in_an_old_address_makes_the_depth_unknown_and_stops_no_verb(
    fleet: Fleet, redis_url: str, capsys: pytest.CaptureFixture[str], query: str
) -> None:
    add_items(redis_url, 100)
    pod = a_pod(fleet, READY, redis_url=f"{redis_url}?{query}")
    Fleet.objects.update(backlog_url=f"{redis_url}?{query}")
    decided = tick(fleet)
    assert (decided.depth, decided.spawned, decided.retired) == (None, 0, 0)
    assert query.partition("=")[0] in decided.sentence
    call_command("fleet", "list")
    assert "unknown" in capsys.readouterr().out
    call_command("fleet", "stop-all", "emb", stdout=io.StringIO())
    assert tick(fleet).retired == 1
    pod.refresh_from_db()
    assert pod.state == "draining"


@pytest.mark.parametrize("error", [TypeError("odd"), KeyError("x"), RuntimeError("no loop")])
def test_whatever_fails_in_a_probe_the_depth_is_unknown(fleet: Fleet, error: Exception) -> None:
    with mock.patch.object(probes, "build_probe", side_effect=error):
        decided = tick(fleet)
    assert (decided.depth, decided.spawned) == (None, 0)
    assert f"the probe failed: {type(error).__name__}" in decided.sentence
