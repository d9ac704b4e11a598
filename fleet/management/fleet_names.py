"""Finds the fleet that a command names."""

from django.core.management.base import CommandError

from fleet.models import Fleet


def fleet_named(name: str) -> Fleet:
    """Return the fleet of this name, with its schedule.

    Raises:
        CommandError: there is no such fleet; the message names the existing ones.
    """
    rows = Fleet.objects.select_related("schedule__interval")
    # PostgreSQL refuses a query with a NUL in it; SQLite finds nothing.
    fleet = None if "\0" in name else rows.filter(name=name).first()
    if fleet is None:
        in_use = rows.filter(archived_at=None).order_by("name")
        known = ", ".join(in_use.values_list("name", flat=True)) or "none"
        raise CommandError(f"no fleet {name!r}; known: {known}")
    return fleet
