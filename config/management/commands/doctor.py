"""`podfleet doctor`: checks the installation, and says what to do about each fault."""

from argparse import ArgumentParser
from typing import Any

from config.doctor import examining, findings, judging
from config.version import version
from pods.base.commands import OwnCommand


class Command(OwnCommand):
    """Exit status: 0 nothing is wrong, 1 warnings alone, 2 something does not work."""

    help = "Check this installation, and say what to do about each fault. Mends nothing."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What to ask, and how to answer."""
        parser.add_argument("--online", action="store_true", help="Also try each account's key.")
        parser.add_argument("--json", action="store_true", help="Print JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Look, judge and answer.

        Raises:
            SystemExit: something is wrong.
        """
        found = judging.judge(examining.examine(online=options["online"]))
        answer = findings.as_json(found, version()) if options["json"] else findings.as_text(found)
        self.stdout.write(answer)
        if status := findings.exit_status(found):
            raise SystemExit(status)
