"""`manage.py emulate runpod`: a vendor to try a fleet on, without an account and without money."""

from argparse import ArgumentParser, Namespace
from typing import Any

from pods.base.commands import OwnCommand
from pods.emulators import serving


class Command(OwnCommand):
    """Serves an emulator of a vendor's API until it is interrupted."""

    help = "Emulate a vendor's API on this machine, with its own market and its own bill."
    requires_system_checks = ()

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The vendor, the port, and how the vendor should be."""
        serving.add_arguments(parser)

    def handle(self, **options: Any) -> None:
        """Serve."""
        serving.serve(Namespace(**options), say=self.stdout.write)
