"""A headless Chromium of this machine, and users who log in with it."""

import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.contrib.auth.models import Group, User
from playwright.sync_api import Browser, Page, expect, sync_playwright

from tests.support.waiting import patience

CHROMIUM = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
]  # fmt: skip
PASSWORD = "correct horse battery staple"
PAGE_SECONDS = 60.0  # a page that renews itself does so every five seconds


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option `--pictures`."""
    parser.addoption("--pictures", type=Path, help="write pictures of the pages to this folder")


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """The browser; skips the test if there is none."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        pytest.skip(f"no Chromium on the path (looked for {', '.join(CHROMIUM)})")
    # Playwright keeps an event loop in this thread, and Django takes that for async code. The fixture
    # lasts for one module only, because other tests need an event loop of their own.
    before = os.environ.get("DJANGO_ALLOW_ASYNC_UNSAFE")
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()
    if before is None:
        del os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"]


@pytest.fixture
def log_in(chromium: Browser, live_server: Any) -> Iterator[Callable[..., Page]]:
    """Opens a page as a user with a role."""
    contexts = []
    longest = patience(PAGE_SECONDS) * 1000  # a busy machine is not a fault of a page
    expect.set_options(timeout=longest)

    def opened(role: str, **context: Any) -> Page:
        # A test that empties the database also deletes the groups.
        from django.contrib.auth.models import Permission

        from fleet.roles import make_groups

        make_groups(Group, Permission)
        user, _ = User.objects.get_or_create(username=role, defaults={"is_staff": True})
        user.set_password(PASSWORD)
        user.save()
        user.groups.set([Group.objects.get(name=role)])
        made = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **context})
        made.set_default_timeout(longest)
        contexts.append(made)
        page = made.new_page()
        page.goto(f"{live_server.url}/admin/")
        page.fill("input[name=username]", role)
        page.fill("input[name=password]", PASSWORD)
        page.click("button[type=submit]")
        page.wait_for_url("**/admin/")
        return page

    yield opened
    for context in contexts:
        context.close()
