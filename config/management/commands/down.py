"""`manage.py down`: stop a stack that runs in another terminal, or what a killed one left."""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from django.db import DatabaseError

from config import preparing, stack
from fleet.decision.sentence import plural
from pods.base.commands import OwnCommand
from pods.models import Pod


class Command(OwnCommand):
    """Stops the processes of the stack, the embedded Redis last."""

    help = "Stop the stack of this checkout. Pods run on for orphan_seconds without a manager."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """What may stop the caller from going on."""
        parser.add_argument(
            "--check-pods",
            action="store_true",
            help="Fail if pods that cost money may still bill, so that `make clean` removes nothing.",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Stop the stack, and say how many pods may still bill.

        Raises:
            CommandError: with --check-pods, pods that cost money may still bill.
        """
        count = stack.end_up(settings.VAR_DIR)
        count += stack.stop_leftovers(settings.VAR_DIR, seconds=stack.STOP_SECONDS)
        preparing.stop_services()
        self.stdout.write(f"stopped {count} processes" if count else "nothing was running")
        try:
            prices = list(Pod.objects.billable().values_list("hourly_usd", flat=True))
        except DatabaseError:
            return
        if prices:
            pods, costly = plural(len(prices), "pod"), any(prices)
            said = f"{pods} may still bill: run `make up` and `manage.py fleet stop-all NAME`"
            if options["check_pods"] and costly:
                raise CommandError(
                    f"{said}; nothing was removed (`rm -rf var` does it all the same)"
                )
            self.stdout.write(said)
