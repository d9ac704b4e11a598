#!/usr/bin/env python
"""The command line of a checkout."""

import os
import sys


def main() -> None:
    """Run a management command."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        from config.cli import main as start  # noqa: PLC0415
    except ImportError as exc:
        raise SystemExit(
            f"{exc}. Run `make setup` first, then .venv/bin/python manage.py …"
        ) from exc
    start(sys.argv)


if __name__ == "__main__":
    main()
