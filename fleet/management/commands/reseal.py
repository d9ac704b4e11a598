"""`manage.py reseal`: encrypts all stored secrets with the present field key."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from fleet import resealing
from pods.base.commands import OwnCommand
from pods.plural import plural


class Command(OwnCommand):
    """Encrypt the keys of accounts, the addresses of channels and the secrets of fleets anew."""

    help = (
        "Encrypt every stored secret with the first of PODFLEET_FIELD_KEYS; may be repeated. Exit "
        "status 1 if one cannot be decrypted."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add `--json`."""
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Encrypt, and say how many were changed and which could not be read."""
        done = resealing.reseal()
        if options["json"]:
            answer = {"changed": done.changed, "unchanged": done.good, "lost": done.lost}
            self.stdout.write(json.dumps(answer))
        else:
            self.stdout.write(
                f"{plural(done.changed, 'secret')} encrypted with the present key; "
                f"{done.good} had it already"
            )
        if done.lost and options["json"]:
            raise SystemExit(1)
        if done.lost:
            raise CommandError(
                f"no key of PODFLEET_FIELD_KEYS opens: {', '.join(done.lost)}; add the lost key and run "
                "this again, or store them again"
            )
