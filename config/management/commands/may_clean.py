"""`manage.py may_clean`: whether `make clean` may delete the folder with the rows and the key."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from config.cleaning import why_kept
from pods.base.commands import OwnCommand


class Command(OwnCommand):
    """Exits with 1 while a row says that a pod may bill, or where no row can be read."""

    help = "Whether FOLDER may be deleted: no row says that a pod may bill. Deletes nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What would be deleted, and whether to delete it whatever the rows say."""
        parser.add_argument("folder", type=Path)
        parser.add_argument("--force", action="store_true", help="Only warn.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Look; delete nothing.

        Raises:
            CommandError: a pod may bill, or the database cannot be read.
        """
        if why := why_kept(options["folder"]):
            if not options["force"]:
                raise CommandError(f"nothing was deleted: {why}")
            self.stderr.write(f"warning: {why}")
