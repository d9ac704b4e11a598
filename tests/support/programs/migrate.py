"""Migrates the database of DATABASE_URL, with the checks of lengths that the tests have."""

from django.core.management import call_command
from django.db import connection

from tests.support import lengths
from tests.support.programs import set_django_up

if __name__ == "__main__":
    set_django_up()
    lengths.are_held()
    call_command("migrate", verbosity=0)
    connection.close()
