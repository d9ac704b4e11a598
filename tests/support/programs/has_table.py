"""Prints whether the database has a table: `has_table NAME`."""

import sys

from tests.support.programs import set_django_up


def main(name: str) -> None:
    """Print True or False."""
    set_django_up()
    from django.db import connection

    print(name in connection.introspection.table_names())


if __name__ == "__main__":
    main(sys.argv[1])
