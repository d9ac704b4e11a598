"""The first page renews itself under the operator's hands: focus, scroll and what is open stay."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from fleet.models import Fleet, Tick
from pods.base.clock import utcnow
from tests.support.factories import a_fleet, an_alert

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
FOCUSED = "document.activeElement.id || document.activeElement.textContent.trim()"


def a_tick(fleet: Fleet, token: int, **values: Any) -> None:
    facts = {"active": 0, "desired": 0, "target": 0, "sentence": "keeps 0 pods", **values}
    Tick.objects.create(fleet=fleet, at=utcnow(), token=token, **facts)


def renew(page: Page) -> None:
    """Renew at once, instead of after five seconds."""
    with page.expect_response("**/admin/now/**") as answer:
        page.evaluate(
            "htmx.ajax('GET', document.getElementById('pf-now').getAttribute('hx-get'),"
            " {source: '#pf-now', target: '#pf-now', swap: 'morph:innerHTML'})"
        )
    assert answer.value.status in {200, 204}


@pytest.mark.timeout(120)
@pytest.mark.takes(20)
def test_the_focus_and_what_is_open_survive_ten_renewals(log_in: Callable[..., Page]) -> None:
    fleets = [a_fleet(name=name, stream=name) for name in ("aa", "bb", "cc")]
    alert = an_alert(fleets[1], text="a pod is old")
    for fleet in fleets:
        a_tick(fleet, 1, depth=5)
    page = log_in("operator")
    more = page.locator(f"#pf-more-{fleets[2].pk}")
    more.locator("summary").click(position={"x": 5, "y": 10})
    page.focus(f"#pf-ack-{alert.pk}")
    for n in range(10):
        # The last fleet becomes the worst and the first again, so its row moves.
        a_tick(fleets[0], n + 2, depth=None if n % 2 else 100 + n, held_back="no answer")
        renew(page)
        assert page.evaluate(FOCUSED) == f"pf-ack-{alert.pk}"
        assert more.get_attribute("open") is not None
    expect(page.locator(f"#pf-fleet-{fleets[0].pk}")).to_contain_text("no answer")
    page.keyboard.press("Enter")
    expect(page.get_by_text("acknowledged: a pod is old")).to_be_visible()


@pytest.mark.timeout(120)
@pytest.mark.takes(15)
def test_by_keyboard_the_switch_and_the_first_alert_are_within_three_tabs(
    log_in: Callable[..., Page], live_server: Any
) -> None:
    an_alert(a_fleet(name="emb"), text="a pod is old")
    page = log_in("operator")
    for path in ("/admin/", "/admin/pods/pod/"):
        page.goto(live_server.url + path)
        reached = []
        for _ in range(3):
            page.keyboard.press("Tab")
            reached.append(page.evaluate(FOCUSED))
        assert reached == ["Skip to the content", "Stop everything…", "1 alert needs you"]
    page.keyboard.press("Enter")
    page.wait_for_url("**/admin/#needs-you")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('#needs-you') !== null")
    page.goto(f"{live_server.url}/admin/")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Stop everything").first).to_be_visible()


@pytest.mark.timeout(120)
@pytest.mark.takes(10)
def test_on_a_phone_the_menu_opens_by_keyboard_and_the_switch_is_at_the_bottom(
    log_in: Callable[..., Page],
) -> None:
    a_fleet(name="emb")
    page = log_in("operator", viewport={"width": 390, "height": 844})
    page.focus("button[aria-label='Menu']")
    page.keyboard.press("Enter")
    expect(page.locator("#nav-sidebar")).to_be_visible()
    page.wait_for_function("document.activeElement.closest('#nav-sidebar') !== null")
    box = page.locator(".pf-bar .pf-stop").bounding_box()
    assert box is not None
    assert box["height"] >= 48
    assert 844 - 60 < box["y"] + box["height"] <= 844


@pytest.mark.timeout(120)
@pytest.mark.takes(15)
def test_the_page_says_how_old_it_is_and_stands_still_while_somebody_types(
    log_in: Callable[..., Page],
) -> None:
    fleet = a_fleet(name="emb")
    a_tick(fleet, 1, depth=5)
    page = log_in("viewer")
    expect(page.locator("#pf-updated")).to_contain_text("updated")
    page.fill("#pf-q", "em")
    assert page.evaluate("podfleetMayRenew()") is False
    page.evaluate("document.activeElement.blur()")
    assert page.evaluate("podfleetMayRenew()") is True


@pytest.mark.timeout(120)
def test_while_the_server_does_not_answer_the_headline_is_not_green(
    log_in: Callable[..., Page], live_server: Any
) -> None:
    a_tick(a_fleet(name="emb"), 1, depth=5)
    page = log_in("operator")
    page.clock.install()
    page.goto(f"{live_server.url}/admin/")
    headline = page.locator("#pf-needs")
    expect(headline).to_contain_text("Nothing needs you")
    colour = "getComputedStyle(document.getElementById('pf-needs')).color"
    green = page.evaluate(colour)
    page.route("**/admin/now/**", lambda route: route.abort())
    page.clock.run_for(60_000)
    expect(page.locator("#pf-updated")).to_contain_text("Not updated for")
    old = page.evaluate(colour)
    assert old != green
    assert old == page.evaluate("getComputedStyle(document.querySelector('.pf-row .pf-dim')).color")
    page.unroute("**/admin/now/**")
    page.clock.run_for(6_000)
    expect(page.locator("#pf-updated")).to_contain_text("updated")
    page.wait_for_function(f"{colour} === '{green}'")
