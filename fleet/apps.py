"""The Django app of the demand side: fleets, their backlogs and the scale decision."""

from django.apps import AppConfig


class FleetConfig(AppConfig):
    """The app of fleets, ticks and the operators' pages."""

    name = "fleet"

    def ready(self) -> None:
        """Register the system checks, and what fleets must say to an account.

        Changes of users are noted from here on.
        """
        # Django must load the models first.
        from fleet import checks, people, reaching  # noqa: F401, PLC0415
        from pods.accounts import editing  # noqa: PLC0415

        people.note_users()
        if reaching.refuse_account not in editing.FURTHER_CHECKS:
            editing.FURTHER_CHECKS.append(reaching.refuse_account)
