"""On no page is a viewer offered what the server would refuse."""

import re
from collections.abc import Iterator
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest
from django.contrib.auth.models import Group, Permission
from django.test import Client

from fleet.roles import make_groups
from tests.support.admin_pages import a_user
from tests.support.every_page import pages, rows_for_every_page

pytestmark = pytest.mark.django_db
# What changes only the viewer's own session, password, second factor and choice of rows.
OWN_FORMS = re.compile(r"/admin/(logout|password_change|second-factor)/$")
EXPORTS = {"", "as_csv", "as_json"}


class Offers(HTMLParser):
    """The links of a page, and the buttons and actions of the forms in it that change something."""

    def __init__(self, address: str) -> None:
        super().__init__()
        self.address = address
        self.links: set[str] = set()
        self.changes: list[str] = []
        self.actions: set[str] = set()
        self._form: dict[str, str] | None = None
        self._in_actions = False

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        if tag == "a" and (href := values.get("href", "").partition("#")[0]):
            self.links.add(urljoin(self.address, href))
        elif tag == "form":
            self._form = values
        elif tag == "select":
            self._in_actions = values.get("name") == "action"
        elif tag == "option" and self._in_actions:
            self.actions.add(values.get("value", ""))
        elif self._posts() and tag in {"button", "input"}:
            kind = values.get("type", "submit" if tag == "button" else "text")
            if kind in {"submit", "image"} and values.get("name") != "index":
                self.changes.append(str(values))
        if {"hx-post", "hx-delete", "hx-put", "hx-patch", "formaction"} & set(values):
            self.changes.append(str(values))

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._form = None
        elif tag == "select":
            self._in_actions = False

    def _posts(self) -> bool:
        if self._form is None or self._form.get("method", "get").lower() != "post":
            return False
        if self._form.get("id") == "changelist-form":  # its actions are compared by name
            return False
        return not OWN_FORMS.search(
            urlsplit(urljoin(self.address, self._form.get("action", ""))).path
        )


@pytest.fixture
def viewer(redis_url: str) -> Client:
    rows_for_every_page(redis_url)
    make_groups(Group, Permission)
    return a_user("viewer")


def offers(viewer: Client) -> Iterator[Offers]:
    for address in pages(viewer).values():
        found = Offers(address)
        found.feed(viewer.get(address).content.decode())
        yield found


@pytest.mark.one_database
def test_no_page_has_a_button_or_an_action_that_changes_something(viewer: Client) -> None:
    looked_at = 0
    for found in offers(viewer):
        if not OWN_FORMS.search(found.address):
            assert not found.changes, found.address
        assert found.actions <= EXPORTS, found.address
        looked_at += 1
    assert looked_at > 30
    of_an_operator = Offers("/admin/")  # this test can see a button
    of_an_operator.feed(a_user("operator").get("/admin/").content.decode())
    assert of_an_operator.changes


@pytest.mark.one_database
def test_every_link_that_a_page_shows_opens(viewer: Client) -> None:
    links = {}
    for found in offers(viewer):
        for link in found.links:
            if link.startswith("/"):
                links.setdefault(link, found.address)
    refused = {}
    for link, on in sorted(links.items()):
        status = viewer.get(link).status_code
        if status >= 400:
            refused[f"{link} on {on}"] = status
    assert len(links) > 30
    assert not refused
