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
    assert events() == [("role", "ann"), ("signed_in", "ann")]
    assert SocialAccount.objects.get().extra_data == {}
    assert not SocialToken.objects.exists()
    assert client.session.get_expiry_age() <= 12 * 3600
