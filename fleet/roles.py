"""The operators' roles as groups, with their permissions on the rows of fleets and pods."""

from collections.abc import Mapping
from typing import Any, Final

APPS: Final = ("fleet", "pods")
VIEWER: Final = "viewer"
OPERATOR: Final = "operator"
ADMIN: Final = "admin"
# What an operator may do besides seeing everything.
OPERATES: Final = frozenset(
    {
        "add_fleet",
        "change_fleet",
        "change_pod",
        "add_override",
        "change_override",
        "change_alert",
        "acknowledge_alert",
        "add_apitoken",
        "change_apitoken",
    }
)
ROLES: Final[Mapping[str, str]] = {
    VIEWER: "sees everything and changes nothing",
    OPERATOR: "makes and edits fleets and guardrails, drains, stops and destroys pods, answers alerts",
    ADMIN: "does everything, also with accounts and channels",
}


def may(role: str, codename: str) -> bool:
    """Whether a role has a permission of these apps."""
    if role == ADMIN:
        return True
    return codename.startswith("view_") or (role == OPERATOR and codename in OPERATES)


def make_groups(groups: Any, permissions: Any) -> None:
    """Make the groups and give them their present permissions; members stay.

    `groups` and `permissions` are the models, current ones or those of a migration.
    """
    ours = list(permissions.objects.filter(content_type__app_label__in=APPS))
    for role in ROLES:
        group, _ = groups.objects.get_or_create(name=role)
        group.permissions.add(*(p for p in ours if may(role, p.codename)))
