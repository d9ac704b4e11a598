"""The observed market on its page, on the command line and in the API."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import CommandError
from django.test import Client
from django.urls import reverse

from pods.base.clock import utcnow
from pods.models import Account
from pods.states import LOST, READY
from tests.support.admin_pages import a_user
from tests.support.api import a_client
from tests.support.factories import a_fleet, a_pod, an_account, hours
from tests.support.fleet_command import run
from tests.support.spells import read_for, stood

pytestmark = pytest.mark.django_db


@pytest.fixture
def account() -> Account:
    """An account that was read for a day: an interruptible L4 stood for 12 of these hours."""
    made = an_account("runpod", name="market")
    now = utcnow()
    read_for(made, now, 24)
    stood(made, now, 24, 16, interruptible=True)
    stood(made, now, 4, hourly_usd=Decimal("0.50"), interruptible=True)
    stood(made, now, 20, 10, hourly_usd=Decimal("1.10"), gpu_type="A40")
    return made


def page(client: Client, **query: str) -> str:
    return " ".join(client.get(reverse("market"), query).content.decode().split())


def test_the_page_has_a_line_of_time_for_each_type(account: Account) -> None:
    said = page(a_user("viewer"))
    assert said.index("1× L4") < said.index("1× A40")  # what can be rented now comes first
    assert "$0.40 – $0.50" in said
    assert "50 %" in said
    assert "Could be rented in 2 stretches of this time" in said
    assert said.count('class="pf-market-unread"') == 2  # of each line, the six days before
    assert "No pod got a machine in the last 30 days" in said
    assert a_user("operator").get(reverse("market"), {"days": "8"}).status_code == 404


def test_the_page_says_what_would_be_there_and_how_to_get_it() -> None:
    assert "Add an account" in page(a_user("viewer"))
    an_account("runpod", name="new")
    assert "Its offers were not read in this time" in page(a_user("operator"))


def test_pods_tell_of_boots_losses_and_speeds() -> None:
    fleet = a_fleet(name="emb")
    now = utcnow()
    for n, state in enumerate((LOST, READY, READY, READY)):
        began = now - hours(10)
        a_pod(
            fleet, state, gpu_type="NVIDIA L4", gpu_count=1, interruptible=True, rate=5.0 + n, done=9,
            requested_at=began, asked_at=began, booted_at=began, ended_at=now if n == 0 else None,
            ready_at=began + timedelta(minutes=3 + n),
        )  # fmt: skip
    [lives] = json.loads(run("market", "--json"))["pods"]
    assert (lives["gpu"], lives["pods"], lives["lost"]) == ("L4", 4, 1)
    assert lives["lost_in_100_hours"] == pytest.approx(2.5, abs=0.01)
    assert (lives["boot_seconds"], lives["longest_boot_seconds"]) == (300, 360)
    assert lives["items_per_second"] == {"emb": 6.5}
    assert "emb 6.5" in run("market")


def test_the_command_and_the_api_say_the_same(account: Account) -> None:
    told = json.loads(run("market", "--json", "--gpu", "l4"))
    [market] = told["accounts"]
    [only] = market["types"]
    assert (only["gpu"], only["hourly_usd"], only["percent"]) == ("L4", "0.500000", 50.0)
    assert [spell["until"] is None for spell in only["spells"]] == [False, True]
    sent = a_client("viewer").get("/market?gpu=L4").json()["accounts"][0]
    assert (sent["types"][0]["percent"], sent["more"]) == (50.0, 0)
    assert a_client("viewer", name="b").get("/market?limit=1").json()["accounts"][0]["more"] == 1
    assert "market, read for 1 d" in run("market")


def test_wrong_options_are_refused(account: Account) -> None:
    for words in (("--days", "31"), ("--account", "nobody"), ("--gpu", "L444")):
        with pytest.raises(CommandError):
            run("market", *words)
