"""Which role the claims of an identity provider give."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.oidc import Oidc, Refusal, groups_of, merged, role_for, same_issuer, verified_email

OIDC = Oidc(
    issuer="https://id.example",
    groups={"owner": ("o",), "admin": ("a",), "operator": (), "viewer": ("v", "w")},
)


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"groups": ["v", "a"]}, "admin"), ({"groups": ["w", "x"]}, "viewer"),
        ({"groups": ["o", "v"]}, "owner"), ({"groups": "v"}, "viewer"),
        ({"groups": []}, Refusal.NO_ROLE), ({"groups": ["V"]}, Refusal.NO_ROLE),
        ({"groups": [1, None]}, Refusal.NO_ROLE), ({}, Refusal.NO_GROUPS),
        ({"groups": {"v": 1}}, Refusal.NO_GROUPS), ({"groups": None}, Refusal.NO_GROUPS),
    ],
)  # fmt: skip
def test_the_highest_role_of_the_groups_counts(claims: dict[str, Any], role: str) -> None:
    assert role_for(claims, OIDC) == role


def test_a_dot_leads_into_an_object_unless_the_claim_has_one_in_its_name() -> None:
    assert groups_of({"realm_access": {"roles": ["a"]}}, "realm_access.roles") == ["a"]
    assert groups_of({"https://x.example/groups": ["b"]}, "https://x.example/groups") == ["b"]
    assert groups_of({"realm_access": ["roles"]}, "realm_access.roles") is None


def test_an_address_is_a_group_only_if_it_is_verified() -> None:
    claims = {"email": "ann@example.com"}
    assert groups_of({**claims, "email_verified": True}, "email") == ["ann@example.com"]
    for verified in (False, None, 1.5, "no"):
        assert groups_of({**claims, "email_verified": verified}, "email") is None


def test_the_userinfo_does_not_verify_the_address_of_the_id_token() -> None:
    claims = merged(
        {"email": "owner@x"}, {"email": "ann@x", "email_verified": True, "groups": ["v"]}
    )
    assert claims == {"email": "owner@x", "groups": ["v"]}
    assert verified_email(claims) == ""


def test_a_slash_at_the_end_is_no_other_issuer_and_another_issuer_has_other_accounts() -> None:
    assert same_issuer("https://id.example/", "https://id.example")
    assert not same_issuer("https://id.example/x", "https://id.example")
    assert Oidc(issuer="https://id.example/").provider_id == OIDC.provider_id
    assert Oidc(issuer="https://id2.example").provider_id != OIDC.provider_id


def test_the_secret_is_not_shown() -> None:
    assert "hunter2" not in repr(Oidc(client_secret="hunter2"))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["groups", "email", "email_verified", "a"]), JSON))
def test_no_claims_raise_and_only_named_groups_give_a_role(claims: dict[str, Any]) -> None:
    role = role_for(claims, OIDC)
    if not isinstance(role, Refusal):
        groups = claims["groups"]
        assert set(groups if isinstance(groups, list) else [groups]) & set(OIDC.groups[role])
