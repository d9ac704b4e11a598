"""`podfleet init`: writes `.env` with new secrets for a deployment."""

import os
import re
from argparse import ArgumentParser, ArgumentTypeError
from pathlib import Path
from typing import Any, Final

from django.core.management.base import CommandError

from config import environment_file
from pods.base.commands import OwnCommand

HOST: Final = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?", re.IGNORECASE)


class Command(OwnCommand):
    """Makes the file for this user alone. An existing file stays as it is."""

    help = "Write .env with new secrets, for Docker Compose or systemd."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Where to, and under which names the pages are found."""
        parser.add_argument("folder", nargs="?", type=Path, default=Path(), help="Default: here.")
        parser.add_argument(
            "--host", action="append", default=[], type=_host,
            help="A host name of the pages, such as fleet.example.com; may be repeated.",
        )  # fmt: skip
        parser.add_argument("--https", action="store_true", help="A proxy in front ends TLS.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write the file.

        Raises:
            CommandError: it exists already, or cannot be written.
        """
        path: Path = options["folder"] / ".env"
        written = environment_file.text(options["host"], https=options["https"])
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError as exc:
            raise CommandError(
                f"{path} exists, and its secrets may be in use; nothing was changed. Move it away for "
                "new secrets"
            ) from exc
        except OSError as exc:
            raise CommandError(f"{path} cannot be written: {exc.strerror}") from exc
        with os.fdopen(descriptor, "w") as file:
            file.write(written)
        self.stdout.write(
            f"wrote {path}, which only you may read; keep a copy of PODFLEET_SECRET_KEY and "
            "PODFLEET_FIELD_KEYS with your backups"
        )


def _host(text: str) -> str:
    if not HOST.fullmatch(text):
        raise ArgumentTypeError(f"{text!r} is not a host name; give one such as fleet.example.com")
    return text.lower()
