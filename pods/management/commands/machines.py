"""`manage.py machines …`: lists machines that belong to no pod, and decides what becomes of them."""

import getpass
import json
import sys
from argparse import ArgumentParser
from functools import partial
from typing import IO, Any, cast

from django.core.management.base import CommandError
from rich.table import Table

from pods import orphans
from pods.base import words
from pods.base.commands import CommandConsole, OwnCommand, verbs_of
from pods.models import Account, Orphan
from pods.plural import plural

BY: str = "admin:"  # how events name an operator, wherever they sit


class Command(OwnCommand):
    """List, adopt and destroy unknown machines. Exit status: 0 done, 1 failed, 2 bad usage."""

    help = "List machines of yours that belong to no pod; adopt or destroy them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """One sub-command a verb."""
        verb = partial(verbs_of(parser), named=False)
        verb("list", "List the machines that bill and belong to no pod.").add_argument(
            "--all", action="store_true", help="Handled ones too."
        )
        for name, text in (
            ("adopt", "Make a machine a pod of its fleet."),
            ("destroy", "Destroy a machine; what is on it is lost."),
        ):
            sub = verb(name, text)
            sub.add_argument("machine", metavar="MACHINE", help="Its id, as `machines list` shows.")
            sub.add_argument("--account", metavar="NAME", help="If two accounts have this id.")
        sub.add_argument("--yes", action="store_true", help="Do not ask first.")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the verb."""
        if options["verb"] == "list":
            self._list(options)
        else:
            self._decide(options, Account.Orphans(options["verb"]))

    def _list(self, options: dict[str, Any]) -> None:
        rows = Orphan.objects.select_related("account").order_by("-first_seen_at")
        found = list(rows if options["all"] else rows.filter(gone_at=None))
        if options["json"]:
            self.stdout.write(json.dumps([_as_json(orphan) for orphan in found]))
            return
        table = Table(box=None)
        for column in ("machine", "account", "$/h", "since (UTC)", "state"):
            table.add_column(column, overflow="fold")
        for orphan in found:
            shown = orphans.shown(orphan)
            table.add_row(
                orphan.external_id, orphan.account.name, words.usd(orphan.hourly_usd),
                f"{orphan.first_seen_at:%F %H:%M}", f"{shown.word}: {shown.more}",
            )  # fmt: skip
        nothing = "every machine that was seen belongs to a pod"
        CommandConsole(file=cast("IO[str]", self.stdout)).print(table if found else nothing)

    def _machine(self, options: dict[str, Any]) -> Orphan:
        rows = Orphan.objects.filter(gone_at=None, external_id=options["machine"])
        if options["account"]:
            rows = rows.filter(account__name=options["account"])
        found = list(rows.select_related("account"))
        if len(found) > 1:
            raise CommandError(
                f"{plural(len(found), 'account')} have a machine {options['machine']}; say which: "
                + ", ".join(f"--account {orphan.account.name}" for orphan in found)
            )
        if not found:
            raise CommandError(
                f"no unknown machine {options['machine']}; `machines list` shows them"
            )
        return found[0]

    def _decide(self, options: dict[str, Any], wish: Account.Orphans) -> None:
        orphan = self._machine(options)
        if wish == Account.Orphans.DESTROY and not options["yes"] and not self._sure(orphan):
            raise CommandError("nothing was changed; answer yes, or give --yes")
        if not orphans.decide(orphan.pk, wish, by=f"{BY}{getpass.getuser()}"):
            raise CommandError(f"{orphan.external_id} has a row by now, or is gone")
        orphan.refresh_from_db()
        if options["json"]:
            self.stdout.write(json.dumps(_as_json(orphan)))
        else:
            self.stdout.write(f"{orphan.external_id} is {orphans.WISHES[wish]}")

    def _sure(self, orphan: Orphan) -> bool:
        self.stderr.write(
            f"Destroy {orphan.external_id} at {orphan.account.name}, "
            f"{words.usd(orphan.hourly_usd)}/h? What is on it is lost. [yes/no]"
        )
        return sys.stdin.readline().strip().lower() == "yes"


def _as_json(orphan: Orphan) -> dict[str, Any]:
    return {
        "id": orphan.external_id,
        "name": orphan.name,
        "account": orphan.account.name,
        "fleet_id": orphan.fleet_id,
        "hourly_usd": str(orphan.hourly_usd),
        "first_seen_at": orphan.first_seen_at.isoformat(),
        "gone_at": None if orphan.gone_at is None else orphan.gone_at.isoformat(),
        "wish": orphan.wish,
        "wished_by": orphan.wished_by,
        "outcome_kind": orphan.outcome_kind,
        "outcome": orphan.outcome,
    }
