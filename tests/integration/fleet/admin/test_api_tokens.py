"""Tokens of the API in the admin: made once, listed without secrets, revoked."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from fleet import tokens
from fleet.models import ApiToken, Scope
from tests.support.admin_pages import a_user
from tests.support.api import ApiClient, a_person

pytestmark = pytest.mark.django_db
LIST = "/admin/fleet/apitoken/"
SECRET = re.compile(r"pf_[0-9a-f]{8}_[A-Za-z0-9_-]{43}")


def test_a_token_is_shown_once_and_can_be_revoked(redis_url: str) -> None:
    browser = a_user("operator")
    made = browser.post(f"{LIST}add/", {"name": "ci", "scope": "operate", "days": "30"})
    assert "no-store" in made["Cache-Control"]
    (secret,) = set(SECRET.findall(made.content.decode()))
    program = ApiClient(secret)
    assert program.get("/fleets").status_code == 200
    token = ApiToken.objects.select_related("owner").get()
    assert (token.owner.username, token.scope, token.name) == ("operator", "operate", "ci")
    for page in (LIST, f"{LIST}{token.pk}/change/"):
        text = browser.get(page).content.decode()
        assert token.prefix in text
        assert secret not in text
        assert token.digest not in text
    again = browser.post(f"{LIST}add/", {"name": "ci", "scope": "read", "days": "30"})
    assert "revoke that one first" in again.content.decode()
    browser.post(LIST, {"action": "revoke", "_selected_action": str(token.pk)})
    assert program.get("/fleets").status_code == 401
    token.refresh_from_db()
    assert token.revoked_by == "operator"


def test_an_operator_sees_the_own_tokens_alone_and_makes_none_for_others(redis_url: str) -> None:
    other, _ = tokens.make_token(a_person("bob", "admin"), "bobs", Scope.ADMIN, by="x")
    browser = a_user("operator")
    assert other.prefix not in browser.get(LIST).content.decode()
    assert browser.get(f"{LIST}{other.pk}/change/").status_code == 302
    browser.post(LIST, {"action": "revoke", "_selected_action": str(other.pk)})
    bob = str(User.objects.get(username="bob").pk)
    browser.post(f"{LIST}add/", {"name": "x", "scope": "admin", "days": "30", "owner": bob})
    assert ApiToken.objects.get(name="x").owner.username == "operator"
    other.refresh_from_db()
    assert other.revoked_at is None
    admin = a_user("admin")
    assert other.prefix in admin.get(LIST).content.decode()


def test_an_owner_makes_a_token_for_another_user(admin_client: Client) -> None:
    bob = str(a_person("bob", "viewer").pk)
    form = {"name": "x", "scope": "read", "days": "7", "owner": bob}
    assert SECRET.search(admin_client.post(f"{LIST}add/", form).content.decode())
    assert ApiToken.objects.get().owner.username == "bob"
    assert a_user("viewer").get(LIST).status_code == 403
