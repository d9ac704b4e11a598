"""The search: by its key on every page, and without JavaScript."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from pods.states import READY
from tests.support.factories import a_fleet, a_pod

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.timeout(120)
@pytest.mark.takes(15)
def test_the_key_finds_a_pod_by_its_vendors_id_also_from_a_list(
    log_in: Callable[..., Page], live_server: Any
) -> None:
    pod = a_pod(a_fleet(name="emb"), READY, external_id="i-0ab81")
    page = log_in("viewer")
    page.goto(f"{live_server.url}/admin/pods/pod/")
    page.keyboard.press("/")
    page.keyboard.type("0ab8/")  # the second one is typed
    page.keyboard.press("Backspace")
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/find/?q=0ab8")
    page.get_by_role("main").get_by_role("link", name=pod.name.rpartition("-")[2][:8]).click()
    expect(page.get_by_role("navigation", name="Breadcrumb")).to_contain_text("emb")


@pytest.mark.timeout(120)
@pytest.mark.takes(15)
def test_pages_the_menu_and_the_search_work_without_javascript(
    log_in: Callable[..., Page], live_server: Any
) -> None:
    a_fleet(name="emb")
    for width in (390, 1280):
        page = log_in("viewer", java_script_enabled=False, viewport={"width": width, "height": 800})
        menu = page.get_by_role("link", name="Decisions", exact=True)
        expect(menu).to_be_visible()
        menu.scroll_into_view_if_needed()
        page.locator("#pf-search").fill("emb")
        page.locator("#pf-search").press("Enter")
        page.wait_for_url("**/admin/find/?q=emb")
        expect(page.get_by_role("link", name="emb", exact=True)).to_be_visible()
