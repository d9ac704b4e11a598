"""Surveys of a crowded market, with the pace of the account: one for each wish, and in turn."""

import io
import json
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import redis
from django.core.management import call_command

from fleet import operating
from fleet.models import Fleet
from fleet.tick import ticking, wishes
from pods.accounts import surveying
from pods.base import clock
from pods.emulators.base import Reply
from pods.emulators.vastai_catalog import crowd
from pods.models import Account, Survey
from tests.support.factories import a_fleet, an_account
from tests.support.items import add_items
from tests.support.rigs.vastai_rig import KEY, Rig, vast

pytestmark = pytest.mark.django_db
SEARCH = "/api/v0/bundles/"
TOO_MANY = Reply(status=429, text="API requests too frequent: endpoint threshold=6.0*1.0")
NAMES = ("H100", "h100_sxm", "H100 SXM5 80GB", "NVIDIA H100 80GB HBM3")


@pytest.fixture
def rig() -> Iterator[Rig]:
    with vast(slots=0) as rig:
        rig.server.checks.clear()
        with rig.server.lock:
            crowd(rig.emulator.market)
        yield rig


@pytest.fixture
def account(rig: Rig, redis_url: str, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Account:
    settings.REDIS_URL = redis_url
    monkeypatch.setenv("VAST_KEY", KEY)
    made: Account = an_account(
        "vastai", name="vast", secret_ref="env:VAST_KEY", options={"base_url": rig.server.url}
    )
    return made


def a_minute_passes(redis_url: str) -> None:
    """Every turn of the pace is free again, and no answer is kept any more."""
    client = redis.Redis.from_url(redis_url)
    for pattern in ("podfleet:pace:*", "podfleet:offers:*"):
        for key in client.scan_iter(pattern):
            client.delete(key)
    client.close()


def beat_surveys(account: Account) -> Account:
    """What the task of beat does each minute."""
    account = Account.objects.get(pk=account.pk)
    wishes.keep_wishes(account)
    surveying.survey_account(account)
    account.refresh_from_db()
    return account


@pytest.mark.parametrize("name", NAMES)
def test_a_fleet_rents_the_h100_among_750_offers_by_any_of_its_names(
    account: Account, rig: Rig, redis_url: str, name: str
) -> None:
    beat_surveys(account)  # it has used up the searches of this minute
    fleet = operating.create_fleet(
        "emb",
        accounts=["vast"],
        by="a test",
        **{"handler": "pods.agent.handlers.pace:sleep", "image": "i:1"},
        **{"offer_query": {"gpu_types": [name]}, "target_depth_per_pod": 10},
    )
    a_minute_passes(redis_url)
    beat_surveys(account)
    add_items(redis_url, 1000)
    preview = ticking.preview(fleet)
    decision = ticking.tick_fleet(fleet.pk)
    assert decision is not None
    for decided in (preview, decision):
        (start,) = decided.spawn
        assert start.offer.gpu_type == "H100 SXM"


def shown(*words: str) -> list[dict[str, Any]]:
    said = io.StringIO()
    call_command("offers", *words, "--json", stdout=said)
    rows: list[dict[str, Any]] = json.loads(said.getvalue())
    return rows


def test_offers_asks_the_market_for_what_a_paused_fleet_or_a_person_wants(
    account: Account, rig: Rig, redis_url: str
) -> None:
    wish = {"gpu_types": ["H100"]}
    a_fleet(name="emb", accounts=[account], image="i:1", offer_query=wish, mode="paused")
    assert {row["gpu"] for row in shown("--fleet", "emb", "--fresh")} == {"H100 SXM"}
    Survey.objects.all().delete()
    a_minute_passes(redis_url)
    assert {row["gpu"] for row in shown("--gpu", "h100", "--fresh")} == {"H100 SXM"}


def test_an_empty_list_says_why_and_does_not_advise_what_was_just_done(account: Account) -> None:
    wish = {"gpu_types": ["H100"], "max_hourly_usd": "0.01"}
    a_fleet(name="emb", accounts=[account], image="i:1", offer_query=wish, mode="paused")
    said = io.StringIO()
    call_command("offers", "--fleet", "emb", stdout=said)
    assert "its offers were not read yet; `offers --fresh` asks" in said.getvalue()
    said = io.StringIO()
    call_command("offers", "--fleet", "emb", "--fresh", stdout=said)
    assert "vast: asked for just that, it has no offer with GPU H100 and" in said.getvalue()
    assert "--fresh" not in said.getvalue()


@pytest.mark.parametrize("pages", [2, 3, 5, 10])
def test_a_survey_keeps_what_the_rate_allowed_and_says_so(
    account: Account, redis_url: str, pages: int
) -> None:
    """With `search_pages` of 3 and more, the row had no offer and no error."""
    account.options["search_pages"] = pages
    account.save()
    account = beat_surveys(account)
    assert len(account.offers) > 2 * 64
    assert account.surveyed_at is not None
    # On a machine that is busy for long, the rate may last for more pages.
    reasons = ("the market has more offers", "a page could not be read: the next turn of search")
    assert account.survey_partial.startswith(reasons)
    assert (account.failures, account.last_error) == (0, "")


def test_wishes_and_the_market_take_turns_where_the_rate_does_not_last(
    account: Account, rig: Rig, redis_url: str
) -> None:
    for n, gpu in enumerate(("H100", "H200", "L4", "GTX 1070")):
        a_fleet(accounts=[account], image="i:1", offer_query={"gpu_types": [gpu]}, stream=f"s{n}")
    tried: list[set[str]] = []
    for _ in range(4):
        before, began = rig.server.calls("POST", SEARCH), time.monotonic()
        beat_surveys(account)
        turns = 4 + (time.monotonic() - began) // 10 + 1  # a burst, and one more each 10 s
        assert rig.server.calls("POST", SEARCH) - before <= turns
        tried.append({s.query["gpu_types"][0] for s in account.surveys.exclude(surveyed_at=None)})
        a_minute_passes(redis_url)
    assert tried[-1] == {"H100", "H200", "L4", "GTX 1070"}
    account.refresh_from_db()
    assert account.surveyed_at is not None


def test_a_reading_that_others_cut_short_replaces_no_fresh_one_and_is_first_the_next_time(
    account: Account, rig: Rig, redis_url: str
) -> None:
    whole = beat_surveys(account)
    for n, gpu in enumerate(("H100", "L4")):
        query = {"gpu_types": [gpu], "interruptible": False}  # one page each
        a_fleet(accounts=[account], image="i:1", offer_query=query, stream=f"s{n}")
    a_minute_passes(redis_url)
    # Both wishes, and one page of each kind of the market.
    rig.server.faults.edit("POST", SEARCH, lambda reply: reply, times=4)
    rig.server.faults.answer("POST", SEARCH, TOO_MANY, times=9)
    account = beat_surveys(account)
    assert account.surveys.exclude(surveyed_at=None).count() == 2
    assert (account.offers, account.surveyed_at) == (whole.offers, whole.surveyed_at)
    rig.server.faults.clear()
    a_minute_passes(redis_url)
    account = beat_surveys(account)
    assert len(account.offers) == len(whole.offers)
    assert account.surveyed_at is not None
    assert whole.surveyed_at is not None
    assert account.surveyed_at > whole.surveyed_at


def test_a_vendor_that_is_ill_leaves_the_last_survey_with_its_age(
    account: Account, rig: Rig, redis_url: str
) -> None:
    before = beat_surveys(account)
    a_minute_passes(redis_url)
    rig.server.faults.answer("POST", SEARCH, Reply(status=500, text="ill"), times=99)
    account = Account.objects.get(pk=account.pk)
    assert surveying.survey_account(account) == 0
    account.refresh_from_db()
    assert (account.offers, account.surveyed_at) == (before.offers, before.surveyed_at)
    assert account.failures == 1


def test_the_offers_of_a_survey_are_bounded_and_the_cheapest_are_kept(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(surveying, "MOST_OFFERS", 10)
    account = beat_surveys(account)
    prices = [float(o["hourly_usd"]) for o in account.offers]
    assert len(prices) == 10
    assert max(prices) < 0.06
    assert account.survey_partial


def test_offers_last_as_long_as_the_provider_says(account: Account) -> None:
    account = beat_surveys(account)
    assert account.surveyed_at is not None
    assert account.offers_until == account.surveyed_at + timedelta(minutes=15)


def test_the_list_of_accounts_and_offers_say_that_a_survey_is_partial(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    beat_surveys(account)
    call_command("account", "list")
    assert ", the cheapest" in capsys.readouterr().out
    call_command("offers", gpu=["gtx_1070"])
    said = capsys.readouterr().out
    assert "vast: not all offers were read: the market has more offers" in said


def test_a_wish_goes_with_the_account_and_with_its_fleet(account: Account) -> None:
    a_fleet(accounts=[account], image="i:1", offer_query={"gpu_types": ["H100"]})
    beat_surveys(account)
    assert account.surveys.get().surveyed_at <= clock.utcnow()
    Fleet.objects.all().delete()
    beat_surveys(account)
    assert not account.surveys.exists()
