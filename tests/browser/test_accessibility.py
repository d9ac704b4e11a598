"""axe-core finds nothing serious on any page, in both colours, on a desktop and on a phone."""

from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page

from tests.support.every_page import a_browser_of, pages, rows_for_every_page

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(900),
    pytest.mark.takes(90),
]
WIDTHS: Final = {"desk": {"width": 1440, "height": 900}, "phone": {"width": 390, "height": 844}}
# WCAG 2.2 at the levels A and AA, and the landmarks of a page.
TAGS: Final = ("wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa")
LANDMARKS: Final = ("landmark-one-main", "landmark-unique", "page-has-heading-one")
# Django's own widget of two lists names a span without a role; only the pages of groups have it. The
# theme's scroll boxes (the menu, a wide list) all have one name, which axe-core calls moderate.
EXCUSED: Final = (
    ("aria-prohibited-attr", ".help-tooltip"), ("landmark-unique", "simplebar-content-wrapper"),
)  # fmt: skip
STATES: Final = [(width, scheme) for width in WIDTHS for scheme in ("light", "dark")]
SERIOUS: Final = {"serious", "critical"}
RUN: Final = {
    "resultTypes": ["violations"],
    "runOnly": {"type": "tag", "values": [*TAGS, "best-practice"]},
}


def troubles(page: Page) -> Iterator[str]:
    """The serious violations of a page, each with its rule, its element and how to mend it."""
    for violation in Axe().run(page, options=RUN).response["violations"]:
        if violation["impact"] in SERIOUS or violation["id"] in LANDMARKS:
            for node in violation["nodes"]:
                where, html = " ".join(map(str, node["target"])), " ".join(node["html"].split())
                why = " ".join(node["failureSummary"].split())
                if any(violation["id"] == rule and part in where for rule, part in EXCUSED):
                    continue
                yield f"{violation['id']} at {where}: {html[:200]}: {why[:300]}"


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
