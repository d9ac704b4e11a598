"""The project as an app, so that Django finds its commands (up, down, demo …)."""

from typing import Any

from django.apps import AppConfig
from django.contrib import admin
from django.contrib.admin.apps import SimpleAdminConfig
from django.contrib.admin.checks import check_admin_app, check_dependencies
from django.core import checks


class LateAdminConfig(SimpleAdminConfig):
    """The admin, whose pages are imported by the addresses and by the system checks.

    Workers and most commands show no page, and importing all pages takes a third of a second.
    """

    def ready(self) -> None:
        """Register the checks of the admin."""
        checks.register(check_dependencies, checks.Tags.admin)
        checks.register(_check_pages, checks.Tags.admin)


def _check_pages(**options: Any) -> list[checks.CheckMessage]:
    admin.autodiscover()
    return list(check_admin_app(**options))


class ConfigConfig(AppConfig):
    """Commands that start and stop the whole stack."""

    name = "config"
    label = "podfleet_config"
