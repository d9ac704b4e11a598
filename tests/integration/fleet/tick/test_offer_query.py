"""An operator's offer_query is read, or refused with a message that says what is wrong."""

import json
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils.html import escape

from fleet import operating
from fleet.decision.values import Wanted
from fleet.models import Fleet
from fleet.tick import requesting, ticking, wishes
from pods.states import READY
from tests.support.admin_pages import fields_of, page_of
from tests.support.factories import a_fleet, a_pod, an_account
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
    ({"gpu_types": "RTX 4090"}, "gpu_types is 'RTX 4090'; give a list of names"),
    ({"regions": "Europe"}, "regions is 'Europe'; give a list of names"),
    ({"regions": [1]}, "regions is .1.; give a list of names"),
    ({"min_vram_gb": "much"}, "min_vram_gb is 'much'; give a whole number of GB"),
    ({"max_hourly_usd": "NaN"}, "max_hourly_usd is 'NaN'; give USD, such as"),
    ({"max_hourly_usd": {"usd": 1}}, "max_hourly_usd is .'usd': 1.; give USD"),
    ({"min_remaining": 1e300}, "min_remaining is 1e.300; give seconds"),
    ({"interruptible": "maybe"}, "interruptible is 'maybe'; give true or false"),
    ({"min_reliability": "good"}, "min_reliability is 'good'; give a share from 0 to 1"),
    ({"min_reliability": 95}, "from 0 to 1"),
    ({"min_reliability": "nan"}, "from 0 to 1"),
    ({"min_vram_gb": -5}, "min_vram_gb is -5; give whole GB from 1"),
    ({"min_vram_gb": 10**30}, "give whole GB from 1 to 10000"),
    ({"max_hourly_usd": "-1"}, "max_hourly_usd is -1; give USD"),
    ({"max_hourly_usd": 0}, "max_hourly_usd is 0; give USD"),
    ({"min_remaining": -1}, "min_remaining is -1; give seconds"),
    ({"min_remaining": 1e10}, "min_remaining is 10000000000; give seconds"),
    ({"disk_gb": 40}, "disk_gb unknown"),
    ({"gpu_types": ["RTX 4099"]}, "did you mean RTX 4090"),
    ({"regions": ["Germny"]}, "did you mean Germany"),
]
# What somebody can type into the fields of the form, and how the sentence at the field begins.
VRAM, PRICE = "offer_min_vram_gb", "offer_max_hourly_usd"
SHARE, REMAINING = "offer_min_reliability", "offer_min_remaining"
A_NUMBER_OF_GB = "give a whole number of GB, such as 24"
A_PRICE = "give USD, such as 0.5"
A_SHARE = "give a share from 0 to 1, such as 0.95"
A_TIME = "give whole seconds, such as 3600"
TO_RENT = "Can be rented for at least"
WRONG_IN_THE_FORM = [
    ("offer_gpu_types", "RTX 4099", "'RTX 4099' is not a known GPU type; did you mean RTX 4090"),
    ("offer_gpu_types", "4090, RTX 4099", "'RTX 4099' is not a known GPU type; did you mean"),
    ("offer_regions", "Germny", "'Germny' is not a known region; did you mean Germany"),
    (VRAM, "much", f"Min. VRAM is 'much'; {A_NUMBER_OF_GB}"),
    (VRAM, "1.5", f"Min. VRAM is '1.5'; {A_NUMBER_OF_GB}"),
    (VRAM, "-5", "Min. VRAM is -5; give whole GB from 1 to 10000"),
    (VRAM, str(10**30), f"Min. VRAM is {10**30}; give whole GB from 1 to 10000"),
    (PRICE, "NaN", f"Top price of a pod is 'NaN'; {A_PRICE}"),
    (PRICE, "{'usd': 1}", f"Top price of a pod is \"{{'usd': 1}}\"; {A_PRICE}"),
    (PRICE, "-1", "Top price of a pod is -1; give USD, up to 100000"),
    (PRICE, "0", "Top price of a pod is 0; give USD, up to 100000"),
    (REMAINING, "1e300", f"{TO_RENT} is '1e300'; {A_TIME}"),
    (REMAINING, "-1", f"{TO_RENT} is -1; give seconds, up to ten years"),
    (REMAINING, "10000000000", f"{TO_RENT} is 10000000000; give seconds, up to ten years"),
    (SHARE, "good", f"Min. reliability is 'good'; {A_SHARE}"),
    (SHARE, "95", "Min. reliability must be a share from 0 to 1"),
    (SHARE, "nan", f"Min. reliability is 'nan'; {A_SHARE}"),
    (
        "offer_interruptible",
        "maybe",
        "Pods that a vendor may take away is 'maybe'; choose one of yes, no",
    ),
]


def test_an_offer_query_is_read_with_its_units() -> None:
    query = {
        **{"gpu_types": ["RTX 4090"], "max_hourly_usd": "0.5", "min_vram_gb": 24},
        **{"min_remaining": 3600, "min_reliability": 0.9, "interruptible": False, "regions": None},
    }
    assert wishes.wanted(Fleet(offer_query=query)) == Wanted(
        gpu_types=("RTX 4090",),
        max_hourly_usd=Decimal("0.5"),
        min_vram_gb=24,
        min_remaining=timedelta(hours=1),
        min_reliability=0.9,
        interruptible=False,
        disk_gb=20,
    )


@pytest.mark.parametrize(("query", "said"), WRONG)
def test_an_invalid_offer_query_is_refused(query: Any, said: str, redis_url: str) -> None:
    fleet = a_fleet()
    fleet.offer_query = query
    with pytest.raises(ValidationError) as refused:
        operating.check(fleet)
    assert re.search(said, " ".join(refused.value.messages))


@pytest.mark.parametrize(("query", "said"), WRONG)
def test_the_command_line_says_what_is_wrong_with_an_offer_query(
    query: Any, said: str, redis_url: str
) -> None:
    fleet = a_fleet(name="emb")
    with pytest.raises(CommandError, match=said):
        call_command("fleet", "set", "emb", "--offer-query", json.dumps(query))
    fleet.refresh_from_db()
    assert fleet.offer_query == {}


@pytest.mark.parametrize(("name", "typed", "said"), WRONG_IN_THE_FORM)
def test_the_form_says_what_is_wrong_with_an_offer_query(
    name: str, typed: str, said: str, client: Client, redis_url: str
) -> None:
    client.force_login(User.objects.create_superuser("root", password="x"))
    fleet = a_fleet()
    sent = {**fields_of(fleet), name: typed}
    answer = client.post(page_of(fleet), sent)
    assert answer.status_code == 200
    errors = answer.context["adminform"].form.errors
    assert list(errors) == [name]
    (message,) = errors[name]
    assert message.startswith(said)
    assert escape(message) in answer.content.decode()
    fleet.refresh_from_db()
    assert fleet.offer_query == {}


def test_each_value_of_an_offer_query_has_a_field_that_refuses_something() -> None:
    assert {name for name, _, _ in WRONG_IN_THE_FORM} == {f"offer_{key}" for key in wishes.KEYS}


def test_each_word_of_an_offer_query_has_words_for_what_would_be_right() -> None:
    assert set(wishes.RIGHT) == wishes.KEYS


def test_a_fleet_is_stored_with_the_names_of_the_catalogue(redis_url: str) -> None:
    query = {
        "gpu_types": ["nvidia h100 80gb hbm3", "rtx_4090", "H100 SXM"],
        "regions": ["uk", "eu"],
    }
    fleet = operating.create_fleet(
        "emb", by="a test", handler="pods.agent.handlers.pace:sleep", offer_query=query
    )
    fleet.refresh_from_db()
    assert fleet.offer_query == {"gpu_types": ["H100 SXM", "RTX 4090"], "regions": ["GB", "Europe"]}
    operating.edit(fleet, {"offer_query": {"gpu_types": ["a6000"]}}, by="a test")
    fleet.refresh_from_db()
    assert fleet.offer_query == {"gpu_types": ["RTX A6000"]}


def test_the_form_stores_the_names_of_the_catalogue(client: Client, redis_url: str) -> None:
    client.force_login(User.objects.create_superuser("root", password="x"))
    fleet = a_fleet()
    sent = {**fields_of(fleet), "offer_gpu_types": "4090, h100", "offer_regions": "uk"}
    assert client.post(page_of(fleet), sent).status_code == 302
    fleet.refresh_from_db()
    assert fleet.offer_query == {"gpu_types": ["RTX 4090", "H100"], "regions": ["GB"]}


def test_a_name_that_a_survey_has_seen_is_known(redis_url: str) -> None:
    account = an_account("runpod", offers=[{**OFFER, "gpu_type": "CMP 170HX", "region": "XX-YY-9"}])
    fleet = a_fleet(accounts=[account], image="i:1")
    query = {"gpu_types": ["cmp 170hx"], "regions": ["xx-yy-9"]}
    operating.edit(fleet, {"offer_query": query}, by="a test")
    assert fleet.offer_query == {"gpu_types": ["CMP 170HX"], "regions": ["XX-YY-9"]}


def test_an_old_row_with_names_of_its_vendor_goes_on(redis_url: str) -> None:
    account = an_account("runpod", offers=[{**OFFER, "gpu_type": "H100 80GB HBM3"}])
    fleet = a_fleet(accounts=[account], max_instances=3, target_depth_per_pod=10, image="i:1")
    old = {"gpu_types": ["NVIDIA H100 80GB HBM3", "a card that nobody knows"]}
    Fleet.objects.filter(pk=fleet.pk).update(offer_query=old)
    operating.make_group(fleet)
    add_items(redis_url, 1000)
    decision = ticking.tick_fleet(fleet.pk)
    assert decision is not None
    assert [s.offer.key for s in decision.spawn] == ["cheap"]
    fleet.refresh_from_db()
    operating.edit(fleet, {"max_instances": 2}, by="a test")  # the names are not touched
    named = {"gpu_types": ["a card that nobody knows", "H100 SXM"]}
    operating.edit(fleet, {"offer_query": named}, by="a test")
    fleet.refresh_from_db()
    assert fleet.offer_query == named


def test_offers_for_a_fleet_whose_offer_query_cannot_be_read_says_so(redis_url: str) -> None:
    fleet = a_fleet(name="emb")
    Fleet.objects.filter(pk=fleet.pk).update(offer_query={"min_vram_gb": "much"})
    with pytest.raises(CommandError, match="emb: offer_query: min_vram_gb"):
        call_command("offers", fleet="emb")


def test_with_an_invalid_offer_query_pods_are_retired_but_none_is_rented(
    redis_url: str,
) -> None:
    account = an_account("runpod", offers=[OFFER])
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
