"""The command `fleet`, called inside the process of a test."""

import io

from django.core.management import call_command


def run(verb: str, *args: object) -> str:
    """What a verb prints."""
    out = io.StringIO()
    call_command("fleet", verb, *map(str, args), stdout=out)
    return out.getvalue()
