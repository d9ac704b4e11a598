"""The one clock that all hosts of the manager share: the database's."""

from datetime import datetime
from typing import cast

from django.db import connection

from pods.base import clock


def shared_now() -> datetime:
    """The time by the database's clock. Write with it, and judge by it, what other hosts judge too:
    claims, pauses, when a step is due, since when a machine is missing.

    SQLite has no clock of its own, and no second host. One query on PostgreSQL.
    """
    if clock.is_stepped():
        return clock.shared()
    if connection.vendor != "postgresql":
        return clock.utcnow()
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cast("datetime", cursor.fetchone()[0])
