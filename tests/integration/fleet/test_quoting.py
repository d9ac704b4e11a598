"""A quote on the command line and in the API, from what a fleet's pods and market showed."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError

from fleet.models import Fleet, Tick
from pods.base.clock import utcnow
from pods.models import PriceSegment
from pods.states import TERMINATED
from tests.support.api import a_client
from tests.support.factories import a_fleet, a_pod, an_account, hours
from tests.support.fleet_command import run
from tests.support.goals_of_rows import a_market, with_speed
from tests.support.spells import read_for, stood

pytestmark = [pytest.mark.django_db, pytest.mark.one_database]


def quotable(redis_url: str) -> None:
    account = a_market()
    fleet = a_fleet(name="emb", image="agent:1", accounts=[account], max_instances=4, mode="paused")
    with_speed(fleet, 10.0)
    now = utcnow()
    read_for(account, now, 72)
    stood(account, now, 72, interruptible=True)


def test_the_command_says_what_each_offer_would_take(redis_url: str) -> None:
    quotable(redis_url)
    told = json.loads(run("quote", "emb", "--items", 144_000, "--json"))  # 4 pod-hours
    spot, firm = told["offers"]
    assert (spot["gpu"], spot["interruptible"], firm["interruptible"]) == ("L4", True, False)
    assert spot["items_per_second"] == firm["items_per_second"] == 10.0
    assert 4 < firm["likely_pod_hours"] < 5
    assert 12 < float(firm["likely_usd"]) <= float(firm["sure_usd"]) < 20
    assert float(spot["likely_usd"]) < 6
    assert told["plan"]["pods"] <= 4
    assert told["assumes"][-1] == "3.0 days of the market are recorded."
    by = (utcnow() + hours(8)).isoformat()
    text = run("quote", "emb", "--items", "144,000", "--by", by, "--at-most", "$90")
    assert "144,000 items, goal deadline" in text
    assert "in 100 % of the replays" in " ".join(text.split())
    assert "1× L4" in text


def test_the_price_of_a_part_of_the_items_is_not_shown_as_that_of_all(redis_url: str) -> None:
    quotable(redis_url)
    Fleet.objects.update(daily_budget_usd=5)
    text = " ".join(run("quote", "emb", "--items", "40,000,000").split())
    assert "?–?" in text
    assert "> $1" in text
    assert "It is probably not done within the 30 d" in text
    assert "items are left then" in text
    assert "“>”: not all items are done, and that is what a part of them takes." in text
    text = " ".join(run("quote", "emb", "--items", 144_000, "--at-most", "0.1").split())
    assert "$0.10 is too little to start a pod; the least is about $" in text
    assert "the money ends first" not in text


def test_the_api_says_the_same(redis_url: str) -> None:
    quotable(redis_url)
    client = a_client("viewer")
    told = client.get("/fleets/emb/quote?items=144000&at_most_usd=2").json()
    assert told["goal"] == "budget"
    assert told["plan"]["money_ends"] == 1
    assert (told["plan"]["likely_usd"], told["plan"]["sure_usd"]) == (None, None)
    assert 0 < float(told["plan"]["spent_usd"]) <= 2
    assert 0 < told["plan"]["left"] < 144_000
    assert told["least_usd"] is None
    assert client.get("/fleets/emb/quote?items=0").status_code == 422
    assert client.get("/fleets/emb/quote?items=5&by=2020-01-01T00:00:00Z").status_code == 409
    assert client.get("/fleets/none/quote?items=5").status_code == 404


def test_what_cannot_be_quoted_is_refused_with_what_would_be_right(redis_url: str) -> None:
    account = a_market()
    a_fleet(name="new", image="agent:1", accounts=[account])
    with pytest.raises(
        CommandError, match="no pod has shown its speed yet; give --items-per-second"
    ):
        run("quote", "new", "--items", 100)
    assert "Every pod does 5 items/s" in run(
        "quote", "new", "--items", 100, "--items-per-second", 5
    )
    a_fleet(name="poor", image="agent:1", stream="p", accounts=[an_account("runpod")])
    with pytest.raises(CommandError, match="nothing can be rented now"):
        run("quote", "poor", "--items", 100, "--items-per-second", 5)
    wrong: list[tuple[Any, ...]] = [
        ("--items", 0), ("--items", "x"), ("--items", 1, "--at-most", "-1"),
        ("--items", 1, "--by", "2026-12-01"), ("--items", 1, "--by", "2020-01-01T00:00Z"),
        ("--items", 1, "--items-per-second", 0),
    ]  # fmt: skip
    for words in wrong:
        with pytest.raises(CommandError):
            run("quote", "new", *words)


def test_a_receipt_shows_what_was_beside_what_was_quoted(redis_url: str, tmp_path: Path) -> None:
    quotable(redis_url)
    file = tmp_path / "quote.json"
    file.write_text(run("quote", "emb", "--items", 144_000, "--json"))
    told = json.loads(file.read_text())
    began = utcnow() - hours(3)
    file.write_text(json.dumps({**told, "at": began.isoformat()}))
    fleet = Fleet.objects.get(name="emb")
    pod = a_pod(
        fleet, TERMINATED, requested_at=began, ready_at=began + hours(0.5), done=144_000,
        ended_at=began + hours(2),
    )  # fmt: skip
    PriceSegment.objects.filter(pod=pod).delete()
    PriceSegment.objects.create(
        pod=pod,
        fleet=fleet,
        hourly_usd=3,
        since=began,
        until=began + hours(2),
        cost_micros=6_000_000,
    )
    Tick.objects.create(
        fleet=fleet, at=began + hours(1.5), token=9, depth=0, active=0, desired=0, target=0
    )
    was = json.loads(run("quote", "emb", "--receipt", file, "--json"))
    assert (was["items"], was["pods"], was["pod_hours"]) == (144_000, 1, 2.0)
    assert (was["spent_usd"], was["done_seconds"]) == ("6.0000", 5400.0)
    text = " ".join(run("quote", "emb", "--receipt", file).split())
    assert "144,000 144,000" in text
    assert "$6.00" in text
    file.write_text("{}")
    with pytest.raises(CommandError, match="not a quote"):
        run("quote", "emb", "--receipt", file)
    with pytest.raises(CommandError):
        run("quote", "emb", "--receipt", tmp_path / "none.json")
