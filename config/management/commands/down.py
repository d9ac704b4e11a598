"""`manage.py down`: stop a stack that runs in another terminal, or what a killed one left."""

from typing import Any

from django.conf import settings
from django.db import DatabaseError

from config import preparing, stack
from pods.base.command_name import how_to_run
from pods.base.commands import OwnCommand
from pods.models import Pod
from pods.plural import plural


class Command(OwnCommand):
    """Stops the processes of the stack, the embedded Redis last."""

    help = "Stop the stack of this data folder. Pods run on for orphan_seconds without a manager."

    def handle(self, *args: Any, **options: Any) -> None:
        """Stop the stack, and say how many pods may still bill."""
        count = stack.end_up(settings.VAR_DIR)
        count += stack.stop_leftovers(settings.VAR_DIR, seconds=stack.STOP_SECONDS)
        preparing.stop_services()
        self.stdout.write(f"stopped {plural(count, 'process')}" if count else "nothing was running")
        try:
            billing = Pod.objects.billable().count()
        except DatabaseError:
            return
        if billing:
            self.stdout.write(
                f"{plural(billing, 'pod')} may still bill: run `{how_to_run('up')}` and "
                f"`{how_to_run('fleet stop-everything')}`"
            )
