"""How long the manager waits for a database that says nothing."""

from typing import Any, Final

# libpq waits for ever without these: for a server whose host drops packets, or dies while it is asked.
# https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS
LIMITS: Final = {
    "connect_timeout": 10,  # seconds
    "keepalives_idle": 30,  # seconds without a packet
    "keepalives_interval": 10,  # seconds
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,  # milliseconds for which sent bytes may stay unacknowledged
}


def with_limits(database: dict[str, Any]) -> dict[str, Any]:
    """The settings of a database with a limit for each wait. What the address says itself counts more.

    Nothing is changed for SQLite.
    """
    if not database["ENGINE"].endswith("postgresql"):
        return database
    return {**database, "OPTIONS": {**LIMITS, **database.get("OPTIONS", {})}}
