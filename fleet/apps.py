"""The Django app of the demand side: fleets, their backlogs and the scale decision."""

from django.apps import AppConfig


class FleetConfig(AppConfig):
    """The app of fleets, ticks and the operators' pages."""

    name = "fleet"

    def ready(self) -> None:
        """Register the system checks."""
        from fleet import checks  # noqa: F401, PLC0415 - Django must load the models first
