"""The page of users: a role in one line, and no way to a higher one."""

from typing import Any

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.test import Client
from django.urls import reverse

from tests.support.admin_pages import logged_in_with, page_of

pytestmark = pytest.mark.django_db
ADD = "admin:auth_user_add"
PASSWORD = "correct horse battery staple"


def given(role: str, **values: Any) -> dict[str, Any]:
    return {"username": "bob", "role": role, "is_active": "on", **values}


def new(role: str) -> dict[str, Any]:
    typed = {"password1": PASSWORD, "password2": PASSWORD, "usable_password": "true"}
    return given(role, **typed)


@pytest.mark.parametrize(
    ("role", "staff", "owner", "groups"),
    [
        ("viewer", True, False, ["viewer"]),
        ("operator", True, False, ["operator"]),
        ("admin", True, False, ["admin"]),
        ("owner", True, True, []),
        ("none", False, False, []),
    ],
)
def test_a_new_user_gets_one_role(
    admin_client: Client, role: str, staff: bool, owner: bool, groups: list[str]
) -> None:
    page = admin_client.get(reverse(ADD)).content.decode()
    assert "viewer: sees everything and changes nothing" in page
    assert admin_client.post(reverse(ADD), new(role)).status_code == 302
    bob = User.objects.get(username="bob")
    assert (bob.is_staff, bob.is_superuser) == (staff, owner)
    assert [g.name for g in bob.groups.all()] == groups
    assert bob.check_password(PASSWORD)


def test_another_role_replaces_the_one_from_before_and_keeps_other_groups(
    admin_client: Client,
) -> None:
    bob = User.objects.create_user("bob", is_staff=True)
    bob.groups.set([Group.objects.get(name="admin"), Group.objects.create(name="readers")])
    page = admin_client.get(page_of(bob)).content.decode()
    assert "user_permissions" not in page
    assert 'name="groups"' not in page
    assert admin_client.post(page_of(bob), given("viewer")).status_code == 302
    assert {g.name for g in bob.groups.all()} == {"readers", "viewer"}
    listed = admin_client.get(reverse("admin:auth_user_changelist")).content.decode()
    assert "viewer" in listed


def test_nobody_changes_the_own_role(admin_client: Client, admin_user: User) -> None:
    sent = {"username": admin_user.username, "role": "viewer", "is_active": "on"}
    admin_client.post(page_of(admin_user), sent)
    admin_user.refresh_from_db()
    assert admin_user.is_superuser


def test_who_may_edit_users_makes_no_owner_and_touches_none(
    client: Client, admin_user: User
) -> None:
    logged_in_with(client, "change_user")
    editor = User.objects.get(username="viewer")
    editor.user_permissions.add(Permission.objects.get(codename="view_user"))
    bob = User.objects.create_user("bob", is_staff=True)
    answer: Any = client.post(page_of(bob), given("owner"))
    assert "role" in answer.context["adminform"].form.errors
    bob.refresh_from_db()
    assert not bob.is_superuser
    sent = {"username": "mine", "role": "viewer", "is_active": "on"}
    assert client.post(page_of(admin_user), sent).status_code == 403
    password = reverse("admin:auth_user_password_change", args=[admin_user.pk])
    assert client.post(password, {"password1": "x", "password2": "x"}).status_code == 403
    assert client.post(page_of(bob), given("operator")).status_code == 302
    assert [g.name for g in bob.groups.all()] == ["operator"]
