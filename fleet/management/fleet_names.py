"""The fleet that a command's words name."""

from django.core.management.base import CommandError

from fleet.models import Fleet


def fleet_named(name: str) -> Fleet:
    """The fleet of this name, with its schedule.

    Raises:
        CommandError: there is none; the message says which there are.
    """
    rows = Fleet.objects.select_related("schedule__interval")
    # PostgreSQL refuses a query with a NUL in it, where SQLite finds nothing.
    fleet = None if "\0" in name else rows.filter(name=name).first()
    if fleet is None:
        known = ", ".join(rows.values_list("name", flat=True)) or "none"
        raise CommandError(f"no fleet {name!r}; known: {known}")
    return fleet
