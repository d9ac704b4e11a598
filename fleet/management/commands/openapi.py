"""`manage.py openapi`: writes the description of the REST API."""

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from fleet.api import documents
from fleet.api.application import PREFIX, api
from pods.base.commands import OwnCommand


class Command(OwnCommand):
    """Print the description of the REST API as OpenAPI 3.1, or write it into a file."""

    help = "Print the description of the REST API (OpenAPI 3.1)."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the file."""
        parser.add_argument("--out", type=Path, help="Write it into this file.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write it."""
        text = documents.written(api.get_openapi_schema(path_prefix=PREFIX))
        if options["out"] is None:
            self.stdout.write(text)
        else:
            options["out"].write_text(text, encoding="utf-8")
