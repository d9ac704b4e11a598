"""The roles have their permissions on every row of ours, also on those that newer versions added."""

import pytest
from django.contrib.auth.models import Group, Permission

from fleet.roles import APPS, ROLES, may

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("role", ROLES)
def test_the_migrations_give_a_role_all_that_it_may(role: str) -> None:
    """A model that is new needs a migration such as 0037_roles_of_newer_rows."""
    has = set(Group.objects.get(name=role).permissions.values_list("codename", flat=True))
    ours = Permission.objects.filter(content_type__app_label__in=APPS)
    wanted = {code for code in ours.values_list("codename", flat=True) if may(role, code)}
    assert wanted - has == set()
