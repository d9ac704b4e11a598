"""The form of a fleet: money limits, what it rents, closed sections, errors, and what a save says."""

import html
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from fleet.models import Fleet, Tick
from pods.base.clock import utcnow
from tests.support.admin_pages import a_user, fields_of, page_of
from tests.support.factories import a_fleet, an_account

pytestmark = pytest.mark.django_db
ADD = "/admin/fleet/fleet/add/"
NEW = {"seen_version": "0", "name": "emb", "handler": "a:b", "mode": "running", "stream": "emb"}


@pytest.fixture
def root(client: Client, django_user_model: Any) -> Client:
    client.force_login(django_user_model.objects.create_superuser("root", password="x"))
    return client


def errors_of(answer: Any) -> dict[str, list[str]]:
    errors = answer.context["adminform"].form.errors
    return {name: [html.unescape(str(text)) for text in texts] for name, texts in errors.items()}


def sent_by(client: Client) -> dict[str, Any]:
    """What a browser sends from the page of a new fleet."""
    form = client.get(ADD).context["adminform"].form
    sent = {field.html_name: field.value() for field in form}
    return {n: value for n, value in sent.items() if value is not None and value is not False} | NEW


def test_a_new_fleet_begins_with_limits_on_its_spending(root: Client, redis_url: str) -> None:
    vendor = an_account("runpod", offers=[])
    sent = {**sent_by(root), "accounts": [vendor.pk], "image": "agent:1"}
    assert (str(sent["max_hourly_usd"]), str(sent["daily_budget_usd"])) == ("1.00", "10.00")
    assert root.post(ADD, sent).status_code == 302
    fleet = Fleet.objects.get()
    assert (fleet.max_hourly_usd, fleet.daily_budget_usd) == (1, 10)


def test_the_only_account_in_use_is_chosen(root: Client, redis_url: str) -> None:
    an_account("local", enabled=False)
    only = an_account("local")
    assert sent_by(root)["accounts"] == [only.pk]
    an_account("runpod")
    assert "accounts" not in sent_by(root)


def test_an_account_with_a_price_asks_for_a_limit_or_a_tick(root: Client) -> None:
    vendor, own = an_account("runpod", name="main"), an_account("local")
    fleet = a_fleet(image="agent:1", max_hourly_usd=1, daily_budget_usd=2, accounts=[vendor])
    sent: dict[str, Any] = {**fields_of(fleet), "max_hourly_usd": "", "daily_budget_usd": ""}
    errors = errors_of(root.post(page_of(fleet), {**sent, "accounts": [vendor.pk]}))
    assert set(errors) == {"max_hourly_usd", "daily_budget_usd"}
    assert "main costs money; give USD such as 1.00, or tick No limit per hour" in str(errors)
    ticked = {**sent, "no_hourly_limit": "on", "no_daily_limit": "on", "accounts": [vendor.pk]}
    assert root.post(page_of(fleet), ticked).status_code == 302
    fleet.refresh_from_db()
    assert (fleet.max_hourly_usd, fleet.daily_budget_usd) == (None, None)
    again = {**sent, "seen_version": "1", "accounts": [own.pk]}
    assert root.post(page_of(fleet), again).status_code == 302  # pods of this machine are free


def test_a_limit_beside_a_tick_is_never_thrown_away_silently(root: Client) -> None:
    fleet = a_fleet()  # without limits, so both boxes are ticked
    sent = fields_of(fleet)
    assert sent["no_hourly_limit"] == "on"
    assert root.post(page_of(fleet), {**sent, "max_hourly_usd": "3"}).status_code == 302
    fleet.refresh_from_db()
    assert fleet.max_hourly_usd == 3
    sent = {**fields_of(fleet), "max_hourly_usd": "4", "no_hourly_limit": "on"}
    errors = errors_of(root.post(page_of(fleet), sent))
    assert errors["max_hourly_usd"] == ["it is $4.00, and No limit per hour is ticked; choose one"]


def test_the_wished_offers_are_fields_and_stay_as_they_are_stored(root: Client) -> None:
    query = {"min_vram_gb": 24, "max_hourly_usd": 0.5, "min_remaining": 3600, "interruptible": None}
    fleet = a_fleet(offer_query=query)
    assert root.post(page_of(fleet), fields_of(fleet)).status_code == 302
    fleet.refresh_from_db()
    assert fleet.offer_query == query
    sent = {
        **fields_of(fleet),
        "offer_gpu_types": "RTX 4090, h100",
        "offer_max_hourly_usd": "0.75",
        "offer_min_vram_gb": "",
        "offer_interruptible": "no",
    }
    assert root.post(page_of(fleet), sent).status_code == 302
    fleet.refresh_from_db()
    assert fleet.offer_query == {
        "gpu_types": ["RTX 4090", "H100"],
        "max_hourly_usd": "0.75",
        "min_remaining": 3600,
        "interruptible": False,
    }
    newest = Fleet.history.latest()
    assert newest.history_change_reason == "set What to rent by root"


@pytest.mark.parametrize(
    ("field", "typed", "said"),
    [
        ("offer_gpu_types", "RTX 4O9O", "RTX 4O9O"),
        ("offer_min_vram_gb", "0", "whole GB from 1"),
        ("offer_max_hourly_usd", "-1", "USD, up to"),
        ("offer_min_reliability", "95", "a share from 0 to 1"),
        ("offer_min_vram_gb", "much", "give a whole number"),
    ],
)
def test_a_wrong_wish_is_shown_at_its_own_field(
    root: Client, field: str, typed: str, said: str
) -> None:
    fleet = a_fleet()
    errors = errors_of(root.post(page_of(fleet), {**fields_of(fleet), field: typed}))
    assert list(errors) == [field]
    assert said in errors[field][0]


def test_a_wish_that_an_older_version_let_pass_is_shown_and_refused(root: Client) -> None:
    fleet = a_fleet()
    Fleet.objects.filter(pk=fleet.pk).update(offer_query={"min_vram_gb": "much", "colour": "red"})
    fleet.refresh_from_db()
    sent = fields_of(fleet)
    assert sent["offer_min_vram_gb"] == "much"
    errors = errors_of(root.post(page_of(fleet), {**sent, "offer_min_vram_gb": "24"}))
    assert "colour unknown; use" in errors["__all__"][0]


def test_closed_sections_say_how_many_of_their_fields_are_changed(root: Client) -> None:
    fleet = a_fleet(min_instances=1, target_depth_per_pod=7, boot_seconds=60, results="emb:out")
    page = root.get(page_of(fleet)).content.decode()
    for title in ("Scaling: 2 changed", "Items and results: 1 changed", "Time limits: 1 changed"):
        assert title in page
    assert "Machine: all defaults" in page
    assert "after <strong>1 min</strong>: replaced, if its agent has not registered" in page
    viewer = a_user("viewer").get(page_of(fleet)).content.decode()
    assert "Scaling: 2 changed" in viewer
    assert "<input" not in viewer.partition('id="fleet_form"')[2].partition("</form>")[0].replace(
        '<input type="hidden" name="csrfmiddlewaretoken"', ""
    )


def test_errors_are_listed_with_links_and_the_first_wrong_field_has_the_focus(root: Client) -> None:
    fleet = a_fleet()
    sent = {**fields_of(fleet), "max_instances": "x", "boot_seconds": "0"}
    page = html.unescape(root.post(page_of(fleet), sent).content.decode())
    assert "<a href=\"#id_max_instances\">Max pods</a> is 'x'; give a whole" in page
    assert "<a href=\"#id_boot_seconds\">Boot</a> is '0'; give 1 or more" in page
    first = page.partition('name="max_instances"')[2].partition(">")[0]
    assert "autofocus" in first
    assert page.count("autofocus") == 1


def test_a_save_says_when_it_is_in_force(root: Client) -> None:
    fleet = a_fleet()
    page = root.post(page_of(fleet), fields_of(fleet), follow=True)
    assert "Saved. In force from the next tick." in page.content.decode()
    Tick.objects.create(
        fleet=fleet, at=utcnow(), token=1, active=0, ready=0, desired=0, target=0, spawned=0,
        retired=0, sentence="", milliseconds=1, binding="", steps=[], snapshot={},
        spent_today_usd=Decimal(0), hourly_usd=Decimal(0),
    )  # fmt: skip
    fleet.refresh_from_db()
    page = root.post(page_of(fleet), fields_of(fleet), follow=True)
    assert "Saved. In force in 1" in page.content.decode()  # 15 s, or a little less
    assert page.redirect_chain[-1][0] == reverse("admin:fleet_fleet_change", args=[fleet.pk])
    assert "Save and" not in page.content.decode()
