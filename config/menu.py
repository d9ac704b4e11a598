"""The menu of the admin: what is so now, why, what limits it, and who runs it."""

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
TOKENS: Final = "admin:fleet_apitoken_changelist"
JOBS: Final = "django_celery_beat.view_periodictask"
NAVIGATION: Final[Sequence[Any]] = [
    {
        "title": "Now",
        "items": [
            _item("Overview", "monitoring", "admin:index", "fleet.view_fleet"),
            _item("Fleets", "hub", "admin:fleet_fleet_changelist", "fleet.view_fleet"),
            _item("Pods", "dns", "admin:pods_pod_changelist", "pods.view_pod"),
            _item("Alerts", "notifications", ALERTS, "fleet.view_alert", badge_variant="danger"),
            _item("Failed items", "report", "failed_items", "fleet.view_fleet"),
            _item("Batches", "stacks", "admin:fleet_batch_changelist", "fleet.view_batch"),
        ],
    },
    {
        "title": "Explain",
        "items": [
            _item("Decisions", "rule", "admin:fleet_tick_changelist", "fleet.view_tick"),
            _item("Spending", "payments", "money", "fleet.view_fleet"),
            _item("Market", "storefront", "market", "pods.view_account"),
            _item("Activity", "history", "admin:pods_podevent_changelist", "pods.view_podevent"),
        ],
    },
    {
        "title": "Control",
        "items": [
            _item("Limits", "speed", "admin:fleet_limits_changelist", "fleet.view_limits"),
            _item(
                "Manual holds", "pan_tool", "admin:fleet_override_changelist", "fleet.view_override"
            ),
            _item("Accounts", "key", "admin:pods_account_changelist", "pods.view_account"),
            _item(
                "Alert channels", "campaign", "admin:fleet_channel_changelist", "fleet.view_channel"
            ),
            _item("Unknown machines", "help", "admin:pods_orphan_changelist", "pods.view_orphan"),
        ],
    },
    {
        "title": "Admin",
        "items": [
            _item("Users", "group", "admin:auth_user_changelist", "auth.view_user"),
            _item("API tokens", "vpn_key", TOKENS, "fleet.add_apitoken"),
            _item(
                "Background jobs",
                "schedule",
                "admin:django_celery_beat_periodictask_changelist",
                JOBS,
            ),
        ],
    },
]


def flower(url: str) -> dict[str, Any]:
    """The item that leads to Flower, for who may see the background jobs."""
    return {"title": "Flower ↗", "icon": "open_in_new", "link": url, "permission": _may(JOBS)}
