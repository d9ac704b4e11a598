"""The project as an app, so that Django finds its commands (up, down, demo …)."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Commands that start and stop the whole stack."""

    name = "config"
    label = "podfleet_config"
