"""Sign-in with an identity provider: a real one, as a process."""

from typing import Any

import pytest
from allauth.socialaccount.models import SocialAccount, SocialToken
from django.contrib.auth.models import User
from django.test import Client
from django.urls import reverse

from fleet.models import PersonEvent
from fleet.people import role_of
from tests.support.identity_provider import IdentityProvider, answer_of, asked, sign_in

pytestmark = pytest.mark.django_db


def person(provider: IdentityProvider, sub: str, *groups: str, **claims: Any) -> None:
    known = {"email": f"{sub}@example.com", "email_verified": True, "preferred_username": sub}
    provider.knows(sub, **{**known, "groups": list(groups), **claims})


def events(*what: str) -> list[tuple[str, str]]:
    rows = PersonEvent.objects.order_by("pk")
    return [(row.what, row.name) for row in rows if not what or row.what in what]


@pytest.mark.parametrize(
    ("groups", "role"),
    [
        (["fleet-admins"], "admin"), (["fleet-operators", "everybody"], "operator"),
        (["everybody", "others"], "viewer"),
    ],
)  # fmt: skip
def test_a_person_comes_in_with_the_highest_role_of_its_groups(
    client: Client, provider: IdentityProvider, groups: list[str], role: str
) -> None:
    person(provider, "ann", *groups, given_name="Ann")
    answer = sign_in(client, "ann")
    assert (answer.status_code, answer["Location"]) == (302, reverse("admin:index"))
    ann = User.objects.get(username="ann")
    assert (role_of(ann), ann.is_staff, ann.has_usable_password()) == (role, True, False)
    assert client.get(reverse("admin:index")).status_code == 200
    assert events() == [("made", "ann"), ("role", "ann"), ("signed_in", "ann")]
    assert SocialAccount.objects.get().extra_data == {}
    assert not SocialToken.objects.exists()
    assert client.session.get_expiry_age() <= 12 * 3600


def test_the_request_has_a_state_a_nonce_and_pkce_and_takes_no_scope_from_the_address(
    client: Client, provider: IdentityProvider
) -> None:
    begun = client.get("/admin/login/oidc/?scope=offline_access&auth_params=prompt%3Dnone")
    sent = asked(begun)
    assert set(sent["scope"].split()) == {"openid", "profile", "email"}
    assert sent["code_challenge_method"] == "S256"
    assert sent["redirect_uri"] == "http://testserver/admin/login/oidc/callback/"
    assert "prompt" not in sent
    assert len(sent["nonce"]) > 20
    assert sent["nonce"] != asked(client.get("/admin/login/oidc/"))["nonce"]


def test_groups_count_at_every_sign_in(client: Client, provider: IdentityProvider) -> None:
    person(provider, "bea", "fleet-admins")
    sign_in(client, "bea")
    person(provider, "bea", "fleet-viewers")
    sign_in(Client(), "bea")
    assert role_of(User.objects.get(username="bea")) == "viewer"
    person(provider, "bea", "others")
    answer = sign_in(Client(), "bea")
    assert answer.status_code == 403
    assert "None of your groups has access" in answer.content.decode()
    assert "fleet-operators (operator)" in answer.content.decode()
    bea = User.objects.get(username="bea")
    assert (role_of(bea), bea.is_staff) == ("none", False)
    assert client.get(reverse("admin:index")).status_code == 302  # also in the session from before
    changes = PersonEvent.objects.filter(what="role").order_by("pk")
    assert [(row.before, row.after, row.how) for row in changes] == [
        ("none", "admin", "identity provider"), ("admin", "viewer", "identity provider"),
        ("viewer", "none", "identity provider"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("claims", "said"),
    [({"groups": ["others"]}, "None of your groups"), ({}, "sent no claim groups")],
)
def test_nobody_without_a_role_becomes_a_user(
    client: Client, provider: IdentityProvider, claims: dict[str, Any], said: str
) -> None:
    provider.knows("eve", email="eve@example.com", email_verified=True, **claims)
    answer = sign_in(client, "eve")
    assert answer.status_code == 403
    assert said in answer.content.decode()
    assert not User.objects.exists()
    assert events() == [("refused", "eve@example.com")]


@pytest.mark.parametrize("verified", [True, False])
@pytest.mark.parametrize("link", [True, False])
@pytest.mark.parametrize("owner", [True, False])
def test_a_local_user_is_taken_over_only_if_linking_is_allowed_and_the_address_is_verified(
    client: Client,
    provider: IdentityProvider,
    settings: Any,
    verified: bool,
    link: bool,
    owner: bool,
) -> None:
    settings.OIDC = provider.settings(link_by_email=link)
    make = User.objects.create_superuser if owner else User.objects.create_user
    local = make("cleo-here", "Cleo@example.com", "correct horse", is_staff=True)
    person(provider, "cleo", "fleet-admins", email="cleo@example.com", email_verified=verified)
    answer = sign_in(client, "cleo")
    local.refresh_from_db()
    linked = link and verified and not owner
    assert answer.status_code == (302 if linked else 403)
    assert local.has_usable_password() is not linked
    assert role_of(local) == ("owner" if owner else "admin" if linked else "none")
    assert User.objects.count() == 1
    assert (
        ("linked", "cleo-here") in events() if linked else not client.session.get("_auth_user_id")
    )
    if linked:
        assert sign_in(Client(), "cleo").status_code == 302


def test_the_name_of_a_local_user_is_not_given_to_another_person(
    client: Client, provider: IdentityProvider
) -> None:
    User.objects.create_superuser("dan", "dan@here.example", "correct horse")
    person(provider, "dan", "fleet-viewers", email="dan@example.com")
    assert sign_in(client, "dan").status_code == 302
    assert client.get(reverse("admin:index")).context["user"].username != "dan"
    assert role_of(User.objects.get(username="dan")) == "owner"


def test_a_user_that_an_owner_switched_off_stays_out(
    client: Client, provider: IdentityProvider
) -> None:
    person(provider, "fay", "fleet-viewers")
    sign_in(client, "fay")
    User.objects.update(is_active=False)
    answer = sign_in(Client(), "fay")
    assert answer.status_code == 403
    assert "not active" in answer.content.decode()


@pytest.mark.parametrize("change", ["state", "browser", "again", "nonce"])
def test_an_answer_to_another_sign_in_lets_nobody_in(
    client: Client, provider: IdentityProvider, change: str
) -> None:
    person(provider, "gus", "fleet-viewers")
    begun = client.get("/admin/login/oidc/")
    if change == "nonce":
        begun["Location"] = begun["Location"].replace("nonce=", "nonce=x")
    path = answer_of(begun, "gus")
    if change == "state":
        path = path.replace("state=", "state=x")
    if change == "again":
        assert client.get(path).status_code == 302
        client.logout()
    answer = (Client() if change == "browser" else client).get(path)
    assert answer.status_code == 403
    assert "out of date" in answer.content.decode()
    assert "_auth_user_id" not in client.session


def test_a_person_who_cancels_is_not_signed_in(client: Client, provider: IdentityProvider) -> None:
    person(provider, "hal", "fleet-viewers")
    answer = client.get(answer_of(client.get("/admin/login/oidc/"), "hal", action="deny"))
    assert answer.status_code == 403
    assert "You are not signed in" in answer.content.decode()


def test_a_wrong_client_secret_is_a_page_that_names_the_setting_and_not_the_secret(
    client: Client, provider: IdentityProvider, settings: Any
) -> None:
    known = provider.client("http://testserver/admin/login/oidc/callback/")
    person(provider, "ida", "fleet-viewers")
    settings.OIDC = provider.settings(client_id=known["client_id"], client_secret="hunter2")
    answer = sign_in(client, "ida")
    page = answer.content.decode()
    assert answer.status_code == 502
    assert "PODFLEET_OIDC_CLIENT_SECRET" in page
    assert "hunter2" not in page
    settings.OIDC = provider.settings(
        client_id=known["client_id"], client_secret=known["client_secret"]
    )
    assert sign_in(client, "ida").status_code == 302


def test_only_addresses_of_the_domains_that_are_named_come_in(
    client: Client, provider: IdentityProvider, settings: Any
) -> None:
    settings.OIDC = provider.settings(email_domains=("example.com",))
    person(provider, "jo", "fleet-viewers", email="jo@example.com.evil.example")
    assert sign_in(client, "jo").status_code == 403
    person(provider, "jo", "fleet-viewers", email="jo@EXAMPLE.com")
    assert sign_in(client, "jo").status_code == 302


@pytest.mark.parametrize("wanted", ["//evil.example/", "https://evil.example/", "javascript:x"])
def test_the_sign_in_leads_to_no_other_host(
    client: Client, provider: IdentityProvider, wanted: str
) -> None:
    person(provider, "kim", "fleet-viewers")
    answer = sign_in(client, "kim", path=f"/admin/login/oidc/?next={wanted}")
    assert answer["Location"] == reverse("admin:index")


def test_without_a_provider_its_addresses_are_not_there(client: Client) -> None:
    assert client.get("/admin/login/oidc/").status_code == 404
    assert client.get("/admin/login/oidc/callback/?code=1&state=2").status_code == 404
    assert "Sign in with" not in client.get("/admin/login/").content.decode()


@pytest.mark.parametrize("path", ["signup/", "password/reset/", "email/", "3rdparty/", "login/"])
def test_none_of_the_pages_of_the_library_is_there(
    client: Client, provider: IdentityProvider, path: str
) -> None:
    for prefix in ("", "accounts/", "admin/login/"):
        assert client.get(f"/{prefix}{path}").status_code in {404, 302}, prefix
