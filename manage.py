#!/usr/bin/env python
"""The command line of the project."""

import os
import sys


def main() -> None:
    """Run a management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from django.core.exceptions import ImproperlyConfigured  # noqa: PLC0415
        from django.core.management import execute_from_command_line  # noqa: PLC0415

        from pods.base.closed_output import ending_quietly  # noqa: PLC0415
    except ImportError as exc:
        raise SystemExit(
            f"{exc}. Run `make setup` first, then .venv/bin/python manage.py …"
        ) from exc
    try:
        with ending_quietly():
            execute_from_command_line(sys.argv)
    except ImproperlyConfigured as exc:
        raise SystemExit(f"{exc}") from None


if __name__ == "__main__":
    main()
