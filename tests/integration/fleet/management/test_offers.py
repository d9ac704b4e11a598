"""`manage.py offers` against an emulated RunPod."""

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from pods.models import Account
from pods.states import READY
from tests.support.factories import a_fleet, a_pod, an_account
from tests.support.rigs.runpod_rig import KEY, Rig

pytestmark = pytest.mark.django_db


@pytest.fixture
def account(rig: Rig, redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Account:
    monkeypatch.setenv("THE_KEY", KEY)
    made: Account = an_account(
        "runpod", name="main", options={"base_url": rig.server.url}, secret_ref="env:THE_KEY"
    )
    return made


def offers(*words: str) -> Any:
    said = io.StringIO()
    call_command("offers", *words, "--json", stdout=said)
    return json.loads(said.getvalue())


def test_offers_shows_what_can_be_rented_now(account: Account, rig: Rig) -> None:
    assert offers() == []
    rows = offers("--fresh")
    prices = [float(row["hourly_usd"]) for row in rows]
    assert prices == sorted(prices)
    assert {row["account"] for row in rows} == {"main"}
    assert {row["million_items_usd"] for row in rows} == {None}
    gpu = rows[-1]["gpu"]
    assert {row["gpu"] for row in offers("--gpu", gpu)} == {gpu}


def test_offers_for_a_fleet_are_ordered_by_the_cost_of_its_items(account: Account) -> None:
    rows = offers("--fresh")
    fleet = a_fleet(name="emb", accounts=[account], image="i:1")
    dear = rows[-1]
    a_pod(fleet, READY, gpu_type=dear["gpu"], gpu_count=dear["gpus"], done=9, rate=500.0)
    seen = offers("--fleet", "emb")
    costs = [float(row["million_items_usd"]) for row in seen]
    assert costs == sorted(costs)
    [mine] = [row for row in seen if row["offer"] == dear["offer"]]
    assert (mine["measured"], mine["items_per_second"]) == (True, 500.0)
    cost = float(mine["hourly_usd"]) / 3600 / 500 * 1e6
    assert float(mine["million_items_usd"]) == pytest.approx(cost, abs=0.01)
    assert {row["measured"] for row in seen if row["gpu"] != dear["gpu"]} == {False}
    table = io.StringIO()
    call_command("offers", "--fleet", "emb", stdout=table)
    assert "$ per million items" in table.getvalue()
    assert dear["gpu"].split()[0] in table.getvalue()


def test_an_unknown_fleet_is_refused_and_the_existing_ones_are_named(redis_url: str) -> None:
    a_fleet(name="emb")
    with pytest.raises(CommandError, match="known: emb"):
        offers("--fleet", "nope")
