"""The sign-in pages in a real browser: both ways in, and the second factor."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyotp
import pytest
from django.contrib.auth.models import User
from playwright.sync_api import Browser, Page, expect

from tests.support.accessibility import STATES, WIDTHS, troubles
from tests.support.identity_provider import IdentityProvider, identity_provider

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(300),
    pytest.mark.takes(20),
]
PASSWORD = "another horse and another staple"


@pytest.fixture(scope="module")
def provider() -> Iterator[IdentityProvider]:
    """A provider that this browser can reach."""
    with identity_provider() as found:
        yield found


def picture(page: Page, config: pytest.Config, name: str) -> None:
    """Write a picture if the run asks for pictures."""
    folder: Path | None = config.getoption("--pictures")
    if folder is not None:
        page.screenshot(path=folder / f"signin-{name}.png", full_page=True)


def test_a_person_signs_in_with_the_provider(
    chromium: Browser, live_server: Any, provider: IdentityProvider, settings: Any, redis_url: str,
    pytestconfig: pytest.Config,
) -> None:  # fmt: skip
    from django.contrib.auth.models import Group, Permission

    from fleet.roles import make_groups

    make_groups(Group, Permission)
    settings.OIDC = provider.settings()
    provider.knows(
        "ann", email="ann@example.com", preferred_username="ann", groups=["fleet-admins"]
    )
    provider.knows("eve", email="eve@example.com", groups=["others"])
    for width, scheme in STATES:
        context = chromium.new_context(viewport=WIDTHS[width], color_scheme=scheme)  # type: ignore[arg-type]
        page = context.new_page()
        page.goto(f"{live_server.url}/admin/pods/pod/")
        assert not list(troubles(page))
        picture(page, pytestconfig, f"both-{width}-{scheme}")
        page.get_by_role("link", name="Sign in with Example ID").click()
        page.fill("input[name=sub]", "eve" if width == "phone" else "ann")
        page.get_by_role(
            "button", name=re.compile("authorize|sign in|allow", re.IGNORECASE)
        ).first.click()
        if width == "phone":
            expect(page.get_by_role("heading", name="You have no access here")).to_be_visible()
            assert not list(troubles(page))
            picture(page, pytestconfig, f"refused-{width}-{scheme}")
        else:
            page.wait_for_url("**/admin/pods/pod/")
        context.close()


def test_a_user_sets_a_second_factor_up_and_signs_in_with_it(
    log_in: Callable[..., Page], live_server: Any, redis_url: str, pytestconfig: pytest.Config
) -> None:
    page = log_in("operator")
    page.locator(".pf-user summary").first.click()
    page.get_by_role("link", name="Second factor").first.click()
    for width, scheme in STATES:
        page.set_viewport_size(WIDTHS[width])  # type: ignore[arg-type]
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        page.reload()
        assert not list(troubles(page))
        picture(page, pytestconfig, f"set-up-{width}-{scheme}")
    page.get_by_text("Type the key instead").click()
    key = page.locator(".pf-key").inner_text().replace(" ", "")
    assert page.locator(".pf-qr svg").bounding_box()["width"] > 150  # type: ignore[index]
    page.get_by_label("Code").fill(pyotp.TOTP(key).now())
    page.get_by_role("button", name="Turn on the second factor").click()
    codes = page.locator(".pf-recovery code").all_inner_texts()
    assert len(codes) == 10
    assert not list(troubles(page))
    picture(page, pytestconfig, "codes-phone-dark")
    page.get_by_role("link", name="I have kept them").click()
    assert not list(troubles(page))
    picture(page, pytestconfig, "own-phone-dark")
    page.context.clear_cookies()
    operator = User.objects.get(username="operator")
    operator.set_password(PASSWORD)
    operator.save()
    page.goto(f"{live_server.url}/admin/")
    page.fill("input[name=username]", "operator")
    page.fill("input[name=password]", PASSWORD)
    page.get_by_role("button", name="Sign in").click()
    assert not list(troubles(page))
    picture(page, pytestconfig, "code-phone-dark")
    page.get_by_label("Code").fill("000000")
    page.get_by_role("button", name="Sign in").click()
    expect(page.get_by_role("alert")).to_contain_text("This code is wrong")
    page.get_by_label("Code").fill(codes[0])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url("**/admin/")
