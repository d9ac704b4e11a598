"""`podfleet audit`: writes who changed what and who signed in."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from django.contrib.auth.models import User
from django.core.management.base import CommandError

from fleet.auditing import entries, sources
from pods.base.clock import utcnow
from pods.base.commands import OwnCommand

AGO: Final = re.compile(r"(\d{1,5})(min|h|d|w)(?: ago)?")
UNITS: Final = {"min": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def moment(text: str) -> datetime:
    """A moment that a person typed: how long ago, or a day or a time in UTC.

    Raises:
        ArgumentTypeError: it is neither.
    """
    try:
        if match := AGO.fullmatch(text):
            return utcnow() - timedelta(**{UNITS[match[2]]: int(match[1])})
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise ArgumentTypeError(
            f"{text!r} is not a moment; write 7d, 12h, 30min, 2026-11-30, or 2026-11-30T08:00"
        ) from exc


class Command(OwnCommand):
    """Writes entry by entry, so a year takes no more memory than a day."""

    help = "Write who changed what and who signed in, the oldest first, with times in UTC."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which entries, and how they are written."""
        parser.add_argument(
            "--since", type=moment, metavar="MOMENT",
            help="From then on: 7d, 12h, 30min, 2w, 2026-11-30 or 2026-11-30T08:00 in UTC (7d).",
        )  # fmt: skip
        parser.add_argument("--until", type=moment, metavar="MOMENT", help="Before then (now).")
        parser.add_argument(
            "--user", default="", metavar="NAME", help="Only what this user did, or was done to it."
        )
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--json", action="store_true", help="One JSON object a line.")
        form.add_argument("--csv", action="store_true", help="CSV, with the changes as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write them.

        Raises:
            CommandError: the times are in the wrong order.
        """
        until = options["until"] or utcnow()
        since = options["since"] or until - timedelta(days=7)
        if since >= until:
            raise CommandError(
                f"--since {entries.moment(since)} is not before --until {entries.moment(until)}",
                returncode=2,
            )
        write = entries.as_json if options["json"] else entries.as_lines
        if options["csv"]:
            write = entries.as_csv
        count = 0
        with closing(sources.entries(since, until, user=options["user"])) as found:
            for line in write(found):
                self.stdout.write(line, ending="")
                count += 1
        if (user := options["user"]) and count <= options["csv"] and not _is_known(user):
            self.stderr.write(
                f"no user {user!r}: none has an account here, and no entry in this time names one; "
                "`user list` shows them"
            )


def _is_known(user: str) -> bool:
    return User.objects.filter(username=user).exists()
