"""Makes SQLite refuse texts that are too long for their column, as PostgreSQL does."""

from django.db.backends.sqlite3.base import DatabaseWrapper


def are_held() -> None:
    """From now on, columns that are made on SQLite have a check of their length."""
    for kind in ("CharField", "SlugField"):
        DatabaseWrapper.data_type_check_constraints[kind] = 'length("%(column)s") <= %(max_length)s'
