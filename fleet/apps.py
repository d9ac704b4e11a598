"""Demand: fleets, their backlogs and the scale decision."""

from django.apps import AppConfig


class FleetConfig(AppConfig):
    """The app of fleets, ticks and the operator's pages."""

    name = "fleet"

    def ready(self) -> None:
        """Register the system checks."""
        from fleet import checks  # noqa: F401, PLC0415 - Django wants models loaded first
