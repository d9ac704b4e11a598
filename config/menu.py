"""The menu of the admin: what operators need most comes first."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from django.http import HttpRequest
from django.urls import reverse_lazy


def _may(permission: str) -> Callable[[HttpRequest], bool]:
    return lambda request: bool(request.user.has_perm(permission))


def _item(title: str, icon: str, page: str, permission: str, **more: Any) -> dict[str, Any]:
    return {
        "title": title, "icon": icon, "link": reverse_lazy(page), "permission": _may(permission),
        **more,
    }  # fmt: skip


ALERTS: Final = "admin:fleet_alert_changelist"
NAVIGATION: Final[Sequence[Any]] = [
    {
        "items": [
            _item("Overview", "monitoring", "admin:index", "fleet.view_fleet"),
            _item("Pods", "dns", "admin:pods_pod_changelist", "pods.view_pod"),
            _item("Decisions", "rule", "admin:fleet_tick_changelist", "fleet.view_tick"),
            _item("Alerts", "notifications", ALERTS, "fleet.view_alert", badge_variant="danger"),
            _item("Money", "payments", "money", "fleet.view_fleet"),
        ]
    },
    {
        "title": "Set up",
        "separator": True,
        "items": [
            _item("Fleets", "hub", "admin:fleet_fleet_changelist", "fleet.view_fleet"),
            _item("Limits", "speed", "admin:fleet_limits_changelist", "fleet.view_limits"),
            _item("Overrides", "pan_tool", "admin:fleet_override_changelist", "fleet.view_override"),
            _item("Accounts", "key", "admin:pods_account_changelist", "pods.view_account"),
            _item("Channels", "campaign", "admin:fleet_channel_changelist", "fleet.view_channel"),
            _item(
                "Schedule", "schedule", "admin:django_celery_beat_periodictask_changelist",
                "django_celery_beat.view_periodictask",
            ),
            _item("Users", "group", "admin:auth_user_changelist", "auth.view_user"),
        ],
    },
    {
        "title": "History",
        "separator": True,
        "items": [
            _item("Events", "history", "admin:pods_podevent_changelist", "pods.view_podevent"),
            _item("Orphans", "help", "admin:pods_orphan_changelist", "pods.view_orphan"),
        ],
    },
]  # fmt: skip
