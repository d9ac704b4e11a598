"""SQLite takes a text of any length where PostgreSQL refuses it: in tests SQLite refuses it too."""

from django.db.backends.sqlite3.base import DatabaseWrapper


def are_held() -> None:
    """From now on the columns that are made have their lengths as a check."""
    for kind in ("CharField", "SlugField"):
        DatabaseWrapper.data_type_check_constraints[kind] = 'length("%(column)s") <= %(max_length)s'
