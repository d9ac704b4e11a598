"""A tick of a fleet whose names or address an older version let pass."""

import pytest

from fleet import operating
from fleet.models import Fleet, Tick
from fleet.tick import requesting, ticking
from tests.support.factories import NOON, OFFER, a_fleet, an_account
from tests.support.items import add_items

pytestmark = pytest.mark.django_db


@pytest.fixture
def fleet(redis_url: str) -> Fleet:
    account = an_account(offers=[OFFER], surveyed_at=NOON)
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
