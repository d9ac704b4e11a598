"""The project as an app: its management commands (up, down, demo, bench) live here."""

from django.apps import AppConfig


class ConfigConfig(AppConfig):
    """Commands that start and stop the whole stack."""

    name = "config"
    label = "podfleet_config"
