"""An operator's offer_query is read, or refused with a message that says what is wrong."""

import json
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client

from fleet import operating
from fleet.decision.values import Wanted
from fleet.models import Fleet
from fleet.tick import market, requesting, ticking
from pods.states import READY
from tests.support.admin_pages import fields_of, page_of
from tests.support.factories import NOON, a_fleet, a_pod, an_account
from tests.support.items import add_items

pytestmark = pytest.mark.django_db

OFFER = {
    **{"key": "cheap", "hourly_usd": "0.3", "gpu_type": "A", "gpu_count": 1},
    **{"stopped_hourly_usd": "0", "remaining": None},
}
WRONG = [
    (3, "give names and values"),
    ([1], "give names and values"),
    ("RTX 4090", "give names and values"),
    ({"gpu": "A"}, "gpu unknown; use gpu_types"),
    ({"gpu_types": "RTX 4090"}, "gpu_types"),
    ({"regions": [1]}, "regions.0"),
    ({"min_vram_gb": "much"}, "min_vram_gb"),
    ({"max_hourly_usd": "NaN"}, "max_hourly_usd"),
    ({"max_hourly_usd": {"usd": 1}}, "max_hourly_usd"),
    ({"min_remaining": 1e300}, "min_remaining"),
    ({"interruptible": "maybe"}, "interruptible"),
    ({"min_reliability": 95}, "from 0 to 1"),
    ({"min_reliability": "nan"}, "from 0 to 1"),
]


def test_an_offer_query_is_read_with_its_units() -> None:
    query = {
        **{"gpu_types": ["RTX 4090"], "max_hourly_usd": "0.5", "min_vram_gb": 24},
        **{"min_remaining": 3600, "min_reliability": 0.9, "interruptible": False, "regions": None},
    }
    assert market.wanted(Fleet(offer_query=query)) == Wanted(
        gpu_types=["RTX 4090"],
        max_hourly_usd=Decimal("0.5"),
        min_vram_gb=24,
        min_remaining=timedelta(hours=1),
        min_reliability=0.9,
        interruptible=False,
    )


@pytest.mark.parametrize(("query", "said"), WRONG)
def test_an_invalid_offer_query_is_refused(query: Any, said: str, redis_url: str) -> None:
    fleet = a_fleet()
    fleet.offer_query = query
    with pytest.raises(ValidationError, match=said):
        operating.check(fleet)


@pytest.mark.parametrize(("query", "said"), WRONG)
def test_the_form_says_what_is_wrong_with_an_offer_query(
    query: Any, said: str, client: Client, redis_url: str
) -> None:
    client.force_login(User.objects.create_superuser("root", password="x"))
    fleet = a_fleet()
    sent = {**fields_of(fleet), "offer_query": json.dumps(query)}
    answer = client.post(page_of(fleet), sent)
    assert answer.status_code == 200
    (message,) = answer.context["adminform"].form.errors["offer_query"]
    assert said in message
    fleet.refresh_from_db()
    assert fleet.offer_query == {}


def test_offers_for_a_fleet_whose_offer_query_cannot_be_read_says_so(redis_url: str) -> None:
    fleet = a_fleet(name="emb")
    Fleet.objects.filter(pk=fleet.pk).update(offer_query={"min_vram_gb": "much"})
    with pytest.raises(CommandError, match="emb: offer_query: min_vram_gb"):
        call_command("offers", fleet="emb")


def test_with_an_invalid_offer_query_pods_are_retired_but_none_is_rented(
    redis_url: str,
) -> None:
    account = an_account("runpod", offers=[OFFER], surveyed_at=NOON)
    fleet = a_fleet(accounts=[account], max_instances=3, target_depth_per_pod=10, image="i:1")
    Fleet.objects.filter(pk=fleet.pk).update(
        offer_query={"min_vram_gb": "much"}, proven_template=requesting.template_hash(fleet)
    )
    operating.make_group(fleet)
    add_items(redis_url, 1000)
    decision = ticking.tick_fleet(fleet.pk)
    assert decision is not None
    assert not decision.spawn
    assert "offer_query: min_vram_gb" in decision.sentence

    for _ in range(4):
        a_pod(fleet, READY, gpu_type="A", gpu_count=1)
    decision = ticking.tick_fleet(fleet.pk)
    assert decision is not None
    assert len(decision.retire) == 1
