"""axe-core finds nothing serious on any page, in both colours, on a desktop and on a phone."""

from collections.abc import Callable
from typing import Any

import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page

from tests.support.accessibility import STATES, WIDTHS, troubles
from tests.support.every_page import a_browser_of, pages, rows_for_every_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(900),
    pytest.mark.takes(90),
]


def test_no_page_has_a_serious_trouble_of_accessibility_in_one_of_four_looks(
    log_in: Callable[..., Page], live_server: Any, redis_url: str
) -> None:
    """Each page in one colour at one width, in turn; the slow test below shows each in all four."""
    looks = [a_look(log_in, *state) for state in STATES]
    wrong = [
        f"{name} ({' '.join(STATES[n % len(STATES)])}): {trouble}"
        for n, (name, address) in enumerate(all_pages(redis_url).items())
        for trouble in troubles_of(looks[n % len(STATES)], live_server.url + address)
    ]
    assert not wrong, "\n".join([f"{len(wrong)} troubles", *wrong])


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme"), STATES)
def test_no_page_has_a_serious_trouble_of_accessibility(
    width: str, scheme: str, log_in: Callable[..., Page], live_server: Any, redis_url: str
) -> None:
    page = a_look(log_in, width, scheme)
    wrong = [
        f"{name}: {trouble}"
        for name, address in all_pages(redis_url).items()
        for trouble in troubles_of(page, live_server.url + address)
    ]
    assert not wrong, "\n".join([f"{len(wrong)} troubles", *wrong])


def a_look(log_in: Callable[..., Page], width: str, scheme: str) -> Page:
    """A browser that an admin uses at one width and in one colour."""
    return log_in("admin", viewport=WIDTHS[width], color_scheme=scheme)


def all_pages(redis_url: str) -> dict[str, str]:
    """The address of each page. Who is logged in may open every one of them from now on."""
    rows_for_every_page(redis_url)
    User.objects.update(is_superuser=True)
    found = {**pages(a_browser_of("admin")), "a missing page": "/admin/no-such-page/"}
    assert len(found) > 60
    return found


def troubles_of(page: Page, address: str) -> list[str]:
    """What is wrong with the page at an address."""
    page.goto(address)
    return list(troubles(page))


@pytest.mark.parametrize(("width", "scheme"), STATES)
def test_the_login_has_no_serious_trouble_of_accessibility(
    width: str, scheme: str, chromium: Browser, live_server: Any
) -> None:
    with chromium.new_context(viewport=WIDTHS[width], color_scheme=scheme) as context:  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{live_server.url}/admin/")
        assert not list(troubles(page))
        page.fill("input[name=username]", "ann")
        page.fill("input[name=password]", "wrong")
        page.click("button[type=submit]")
        assert not list(troubles(page))
