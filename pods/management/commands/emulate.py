"""`manage.py emulate runpod`: a vendor to try a fleet on, without an account and without money."""

import importlib
from argparse import ArgumentParser, Namespace
from typing import Any

from django.core.management.base import BaseCommand, CommandError


class Command(BaseCommand):
    """Serves an emulator of a vendor's API until it is interrupted."""

    help = "Emulate a vendor's API on this machine, with its own market and its own bill."
    requires_system_checks = ()

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        try:
            # By name: the emulators are part of the checkout's tests, and no module of ours needs them.
            self._serving = importlib.import_module("tests.emulators.serving")
        except ModuleNotFoundError as exc:
            raise CommandError(f"the emulators are in a checkout's tests/: {exc}") from exc

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The vendor, the port, and how the vendor should be."""
        self._serving.add_arguments(parser)

    def handle(self, **options: Any) -> None:
        """Serve."""
        self._serving.serve(Namespace(**options), say=self.stdout.write)
