"""Forms in a browser: the preview follows what is typed, and the focus goes to what needs it."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from fleet import operating
from fleet.models import Fleet
from pods.base.redis import redis_client
from tests.support.factories import OFFER, a_fleet, an_account

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.takes(15)
def test_the_preview_follows_what_is_typed_and_saves_nothing(
    log_in: Callable[..., Page], live_server: Any, redis_url: str
) -> None:
    own = an_account("local", offers=[OFFER])
    fleet = a_fleet(name="captions", stream="emb", group="emb", max_instances=2, accounts=[own])
    operating.make_group(fleet)
    for n in range(3):
        redis_client(redis_url).xadd("emb", {"payload": str(n)})
    page = log_in("operator")
    page.goto(f"{live_server.url}/admin/fleet/fleet/{fleet.pk}/change/#id_idle_seconds")
    expect(page.locator("#id_idle_seconds")).to_be_focused()  # in a section that was closed
    shown = page.locator("#pf-preview")
    expect(shown).to_contain_text("No pod has shown yet how fast it works")
    page.fill("#id_max_instances", "0")
    expect(shown).to_contain_text("holds at 0 of 1 wanted: Max pods")
    shown.get_by_role("link", name="Max pods").click()
    expect(page.locator("#id_max_instances")).to_be_focused()
    page.fill("#id_max_instances", "many")
    expect(shown).to_contain_text("Max pods is 'many'; give a whole number")
    assert Fleet.objects.get().max_instances == 2


@pytest.mark.takes(15)
def test_a_refused_form_has_the_focus_in_its_first_wrong_field(
    log_in: Callable[..., Page], live_server: Any
) -> None:
    fleet = a_fleet(name="captions", accounts=[an_account("local")])
    page = log_in("operator", viewport={"width": 390, "height": 800})
    page.goto(f"{live_server.url}/admin/fleet/fleet/{fleet.pk}/change/")
    page.fill("#id_max_instances", "many")
    page.click("button[name=_save]")
    expect(page.locator("#id_max_instances")).to_be_focused()
    page.get_by_role("alert").get_by_role("link", name="Max pods").click()
    expect(page.locator("#id_max_instances")).to_be_focused()
    page.fill("#id_max_instances", "4")
    page.click("button[name=_save]")
    expect(page.get_by_text("Saved. In force from the next tick.")).to_be_visible()


@pytest.mark.takes(15)
def test_a_channel_shows_the_fields_of_its_kind_alone(
    log_in: Callable[..., Page], live_server: Any
) -> None:
    page = log_in("admin")
    page.goto(f"{live_server.url}/admin/fleet/channel/add/")
    expect(page.locator("#id_slack_webhook")).to_be_visible()
    expect(page.locator("#id_email_to")).to_be_hidden()
    page.select_option("#id_kind", "email")
    expect(page.locator("#id_email_to")).to_be_visible()
    expect(page.locator("#id_slack_webhook")).to_be_hidden()
