"""Calls the command `fleet` inside the process of a test."""

import io

from django.core.management import call_command


def run(verb: str, *args: object) -> str:
    """Run a verb; return its output."""
    out = io.StringIO()
    call_command("fleet", verb, *map(str, args), stdout=out)
    return out.getvalue()
