"""`manage.py emulate runpod`: serves an emulated vendor, to try a fleet without money."""

from argparse import ArgumentParser, Namespace
from typing import Any

from django.core.management.base import CommandError

from pods.base.commands import OwnCommand
from pods.emulators import serving


class Command(OwnCommand):
    """Serves an emulator of a vendor's API until it is interrupted."""

    help = "Serve an emulated vendor on this machine, to try a fleet without money."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the arguments."""
        serving.add_arguments(parser)

    def handle(self, **options: Any) -> None:
        """Serve.

        Raises:
            CommandError: the port or the folder cannot be used.
        """
        try:
            serving.serve(Namespace(**options), say=self.stdout.write)
        except serving.CannotServe as exc:
            raise CommandError(str(exc)) from exc
