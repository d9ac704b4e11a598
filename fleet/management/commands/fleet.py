"""`manage.py fleet …`: the operators' verbs on the command line."""

import getpass
import json
from argparse import SUPPRESS, ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Sequence
from copy import copy
from datetime import timedelta
from typing import Any

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError

from fleet import archiving, moving, operating, stopping
from fleet.code import handlers
from fleet.code.packing import Packed
from fleet.datasets import access
from fleet.decision.values import Mode
from fleet.management import code, declarations, foresight, quotes
from fleet.management.adopting import add_adopt_arguments, adopt
from fleet.management.arguments import (
    add_archive_arguments,
    add_dead_arguments,
    add_result_arguments,
    add_source_arguments,
    add_watch_arguments,
)
from fleet.management.datasets import add_dataset_verbs, collect, feed, forget, verify
from fleet.management.declarations import add_export_arguments, add_plan_arguments
from fleet.management.fleet_names import fleet_named
from fleet.management.secrets import add_secret_arguments, secret
from fleet.management.shadows import shadow
from fleet.management.streams import dead_letters, enqueue, export
from fleet.management.typed_values import fields_typed
from fleet.management.watching import watch
from fleet.management.what_if import what_if
from fleet.models import Fleet, Limits
from fleet.pages import terminal
from fleet.pages.status import FleetStatus, status_of
from fleet.tick.scheduling import LONGEST_TICK_SECONDS
from pods.base.commands import AddVerb, CommandConsole, OwnCommand, error_lines, verbs_of
from pods.lifecycle import Overtaken
from pods.plural import plural

STEERING = {
    "pause": "Start no new pods; running pods keep working.",
    "resume": "Run again after a pause or a stop, or try again after pods that failed.",
    "stop-all": "Start no new pods; drain and destroy all pods of the fleet.",
}
SWITCH = {
    "stop-everything": "Stop all fleets with one switch: drain and destroy every pod.",
    "undo-stop": "Undo stop-everything: each fleet goes on as before.",
}
ACCOUNTS_ELSEWHERE = (
    "`set` does not change accounts; do it on the fleet's page in the admin (Edit), by "
    "`PATCH /api/v1/fleets/NAME`, or with `accounts` in a file for `fleet apply`"
)


def _refuse_accounts(parser: ArgumentParser) -> None:
    """Take `--account` only to say where accounts are changed."""
    parser.add_argument("--account", action="append", default=[], help=SUPPRESS)


def _add_fields(parser: ArgumentParser) -> None:
    """Add an option for each field that operators may change."""
    for name in operating.EDITABLE:
        field: Any = Fleet._meta.get_field(name)
        text = str(field.help_text) or field.verbose_name
        parser.add_argument(
            f"--{name.replace('_', '-')}", dest=name, metavar="VALUE", help=text.replace("%", "%%")
        )
    parser.add_argument("--tick-seconds", type=_period, help="Seconds between two decisions.")


def _period(text: str) -> int:
    right = text.isascii() and text.isdigit() and len(text) <= len(str(LONGEST_TICK_SECONDS))
    if not right or not 1 <= int(text) <= LONGEST_TICK_SECONDS:
        raise ArgumentTypeError(f"{text!r}: give 1 to {LONGEST_TICK_SECONDS} seconds")
    return int(text)


def _add_moving(verb: AddVerb) -> None:
    """Add the subcommands that move items and rows."""
    add_source_arguments(
        verb("enqueue", "Put files, standard input or the rows of a query onto the stream.")
    )
    add_dataset_verbs(verb)
    add_result_arguments(verb("results", "Write results into a file or a folder, or post them."))


def _unknown(statuses: Sequence[FleetStatus]) -> dict[str, list[str]]:
    """The fleets whose backlog is unknown, by the reason."""
    names: dict[str, list[str]] = {}
    for status in statuses:
        if status.depth is None:
            why = status.unknown_because or "the backlog cannot be read"
            names.setdefault(why, []).append(status.name)
    return names


class Command(OwnCommand):
    """Create, watch, steer and feed fleets. Exit status: 0 done, 1 failed, 2 bad usage."""

    help = "Create, watch, steer and feed fleets."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add a subcommand for each verb."""
        verb = verbs_of(parser)
        create = verb("create", "Create a fleet with its schedule and consumer group.")
        text = "An account to rent from (default: local); may be repeated."
        create.add_argument("--account", action="append", default=[], help=text)
        code.add_code_arguments(create)
        _add_fields(create)
        listing = verb(
            "list", "List the fleets, one line each, those that need you first.", named=False
        )
        listing.add_argument("--all", action="store_true", help="Also list archived fleets.")
        verb("show", "Show the present state of a fleet.")
        _refuse_accounts(change := verb("set", "Change a fleet; in force from the next tick."))
        code.add_code_arguments(change)
        _add_fields(change)
        verb("rollback", "Go back to the code before; pods with other code are replaced.")
        for name, text in {**STEERING, **SWITCH}.items():
            verb(name, text, named=name in STEERING)
        code.add_check_arguments(verb("check", "Try the fleet's handler on this machine."))
        add_archive_arguments(
            verb("archive", "Hide a fleet without pods and stop its ticks; keep its history."),
            verb("restore", "Bring an archived fleet back, paused."),
            verb("delete", "Delete an archived fleet whose pods cost nothing."),
        )
        foresight.add_foresight(verb)
        add_watch_arguments(verb("watch", "Show a live view until Ctrl-C."))
        add_adopt_arguments(
            verb("adopt", "Find machines of a lost database, and give them rows.", named=False)
        )
        add_plan_arguments(
            verb("plan", "Show what `apply` would change; change nothing.", named=False),
            verb("apply", "Make the fleets be what a file declares.", named=False),
        )
        add_export_arguments(
            verb("export", "Write fleets as a file for `plan` and `apply`.", named=False)
        )
        _add_moving(verb)
        text = "List dead letters, put them back onto the stream, or delete them."
        add_dead_arguments(verb("dead", text, named=False))
        text = "Set, list or remove what the fleet's handler and stores need. No value is shown."
        add_secret_arguments(verb("secret", text, named=False))

    def handle(self, *args: Any, **options: Any) -> None:
        """Run the verb."""
        verb = str(options["verb"]).replace("-", "_")
        try:
            getattr(self, f"_{verb}")(options)
        except ValidationError as exc:
            raise CommandError("; ".join(error_lines(exc, Fleet))) from exc
        except BrokenPipeError:
            raise  # the reader of the output has left: see closed_output
        except (operating.EditedMeanwhile, Overtaken, ValueError, OSError) as exc:
            raise CommandError(str(exc)) from exc

    def _fleet(self, options: dict[str, Any]) -> Fleet:
        return fleet_named(options["name"])

    def _say(
        self, options: dict[str, Any], fleet: Fleet, text: str, packed: Packed | None = None
    ) -> None:
        if options["json"]:
            more = {"left_out": list(packed.left_out)} if packed else {}
            self.stdout.write(json.dumps({**status_of(fleet).as_json(), **more}))
        else:
            self.stdout.write(text)

    def _create(self, options: dict[str, Any]) -> None:
        fields = code.with_ready_options(options, fields_typed(options), {})
        shown = ""
        if packed := code.packed_of(options):
            shown = code.imported(packed, fields.get("handler_env", {}))
            fleet = code.create(options, packed, fields)
        else:
            seconds = options["tick_seconds"]
            fleet = operating.create_fleet(
                options["name"],
                accounts=options["account"],
                tick=None if seconds is None else timedelta(seconds=seconds),
                by=getpass.getuser(),
                **fields,
            )
        text = f"created {fleet.name}: at most {plural(fleet.max_instances, 'pod')}"
        if packed:
            text += f"\n{code.said_of(fleet, packed, shown)}"
        self._say(options, fleet, text, packed)
        if doubt := handlers.doubt(fleet):
            self.stderr.write(doubt)

    def _list(self, options: dict[str, Any]) -> None:
        fleets = Fleet.objects.all()
        if not options["all"]:
            fleets = fleets.filter(archived_at=None)
        statuses = sorted(map(status_of, fleets), key=lambda s: (s.health.health.rank, s.name))
        if options["json"]:
            self.stdout.write(json.dumps([s.as_json() for s in statuses]))
            return
        table = terminal.list_of(statuses)
        hidden = "" if options["all"] else " (archived ones: `fleet list --all`)"
        none = f"no fleets; create one with `fleet create NAME`{hidden}"
        CommandConsole().print(table if statuses else none)
        if (limits := Limits.get()).stopped:
            CommandConsole().print(terminal.stopped_line(limits), style="bold red", markup=False)
        for why, names in _unknown(statuses).items():
            CommandConsole().print(
                f"{', '.join(names)}: {why}", style="red", markup=False, soft_wrap=True
            )

    def _show(self, options: dict[str, Any]) -> None:
        status = status_of(self._fleet(options))
        if options["json"]:
            self.stdout.write(json.dumps(status.as_json()))
        else:
            CommandConsole().print(terminal.render(status))

    def _set(self, options: dict[str, Any]) -> None:
        fleet = self._fleet(options)
        if options["account"]:
            raise CommandError(ACCOUNTS_ELSEWHERE, returncode=2)
        changes = code.with_ready_options(options, fields_typed(options), fleet.handler_env)
        seconds = options["tick_seconds"]
        packed = code.packed_of(options, fleet.handler)
        if not changes and seconds is None and packed is None:
            raise CommandError("nothing to set; see `fleet set --help`", returncode=2)
        tick = None if seconds is None else timedelta(seconds=seconds)
        before = copy(fleet)
        text = f"{fleet.name}: changed, in force from the next tick"
        if packed is not None:
            text = code.change(fleet, packed, changes)
        if packed is None or tick is not None:
            operating.edit(fleet, {} if packed else changes, tick=tick, by=getpass.getuser())
        operating.prepare(fleet)
        self._say(options, fleet, text, packed)
        if fleet.handler != before.handler and (doubt := handlers.doubt(fleet)):
            self.stderr.write(doubt)
        if left := moving.left_behind(before, fleet):
            self.stderr.write(left)

    def _mode(self, options: dict[str, Any], mode: Mode, text: str) -> None:
        fleet = operating.set_mode(self._fleet(options), mode, by=getpass.getuser())
        self._say(options, fleet, f"{fleet.name}: {text}")

    def _pause(self, options: dict[str, Any]) -> None:
        self._mode(options, Mode.PAUSED, "paused; running pods keep working")

    def _resume(self, options: dict[str, Any]) -> None:
        text = "running from the next tick"
        if Limits.get().stopped:
            text = "running, but everything is stopped until `fleet undo-stop`"
        self._mode(options, Mode.RUNNING, text)

    def _stop_all(self, options: dict[str, Any]) -> None:
        fleet = self._fleet(options)
        count = fleet.pods.billable().count()
        self._mode(
            options,
            Mode.STOP_ALL,
            f"{plural(count, 'pod')} {'drains and is' if count == 1 else 'drain and are'} destroyed",
        )

    def _stop_everything(self, options: dict[str, Any]) -> None:
        there = stopping.reach()
        done = stopping.stop_everything(by=getpass.getuser())
        self._say_switch(options, terminal.stop_text(there, Limits.get(), again=not done))

    def _undo_stop(self, options: dict[str, Any]) -> None:
        mode = stopping.undo_stop(Limits.get(), by=getpass.getuser())
        text = f"the installation is {mode.value} again, and each fleet goes on in its own mode"
        self._say_switch(options, text)

    def _say_switch(self, options: dict[str, Any], text: str) -> None:
        limits, there = Limits.get(), stopping.reach()
        if not options["json"]:
            self.stdout.write(text)
            return
        answer = {
            "mode": limits.mode, "by": limits.mode_by,
            "at": limits.mode_at.isoformat() if limits.mode_at else None,
            "pods": there.pods, "hourly_usd": str(there.hourly_usd),
        }  # fmt: skip
        self.stdout.write(json.dumps(answer))

    def _archive(self, options: dict[str, Any]) -> None:
        fleet = self._fleet(options)
        name, when_empty = options["new_name"] or "", options["when_empty"]
        before = fleet.name
        done = archiving.archive(fleet, when_empty=when_empty, name=name, by=getpass.getuser())
        if done:
            text = archiving.archived_text(fleet)
        else:
            text = "paused; it will be archived when its last pod has ended"
        self._say(options, fleet, f"{archiving.called(fleet, before)}: {text}")

    def _restore(self, options: dict[str, Any]) -> None:
        fleet = self._fleet(options)
        before = fleet.name
        archiving.restore(fleet, name=options["new_name"] or "", by=getpass.getuser())
        text = f"back, and paused; `fleet resume {fleet.name}` lets it run"
        self._say(options, fleet, f"{archiving.called(fleet, before)}: {text}")

    def _delete(self, options: dict[str, Any]) -> None:
        fleet = self._fleet(options)
        if why := archiving.why_kept(fleet):
            raise CommandError(why)
        if not options["yes"]:
            raise CommandError(
                f"this deletes {fleet.name} with its decisions, pods and alerts for good; add --yes",
                returncode=2,
            )
        name, left = fleet.name, archiving.left_in_redis(fleet)
        archiving.delete(fleet, by=getpass.getuser())
        answer = json.dumps({"deleted": name})
        self.stdout.write(answer if options["json"] else f"{name}: deleted; {left}")

    def _next(self, options: dict[str, Any]) -> None:
        foresight.next_tick(self._fleet(options), Namespace(**options), self.stdout)

    def _quote(self, options: dict[str, Any]) -> None:
        quotes.quote(self._fleet(options), Namespace(**options), self.stdout)

    def _market(self, options: dict[str, Any]) -> None:
        foresight.market(Namespace(**options), self.stdout)

    def _watch(self, options: dict[str, Any]) -> None:
        watch(self._fleet(options), Namespace(**options), self.stdout)

    def _what_if(self, options: dict[str, Any]) -> None:
        what_if(self._fleet(options), Namespace(**options), self.stdout)

    def _shadow(self, options: dict[str, Any]) -> None:
        shadow(self._fleet(options), Namespace(**options), self.stdout)

    def _check(self, options: dict[str, Any]) -> None:
        code.check(self._fleet(options), Namespace(**options), self.stdout)

    def _rollback(self, options: dict[str, Any]) -> None:
        fleet = self._fleet(options)
        code.rollback(fleet, Namespace(**options), self.stdout)

    def _plan(self, options: dict[str, Any]) -> None:
        declarations.plan(Namespace(**options), self.stdout)

    def _apply(self, options: dict[str, Any]) -> None:
        asked = Namespace(**options)
        declarations.apply(asked, self.stdout, self.stderr, by=getpass.getuser())

    def _export(self, options: dict[str, Any]) -> None:
        declarations.export(Namespace(**options), self.stdout, self.stderr)

    def _adopt(self, options: dict[str, Any]) -> None:
        adopt(Namespace(**options), self.stdout)

    def _enqueue(self, options: dict[str, Any]) -> None:
        fleet = self._fleet(options)
        enqueue(fleet, Namespace(**options), self.stdout)

    def _feed(self, options: dict[str, Any]) -> None:
        fleet = self._fleet(options)
        operating.refuse_archived(fleet)
        if text := access.missing(fleet, [*options["urls"], options["sink"]]):
            self.stderr.write(text)
        feed(fleet, Namespace(**options), self.stdout)

    def _forget(self, options: dict[str, Any]) -> None:
        forget(self._fleet(options), Namespace(**options), self.stdout)

    def _verify(self, options: dict[str, Any]) -> None:
        verify(self._fleet(options), Namespace(**options), self.stdout)

    def _collect(self, options: dict[str, Any]) -> None:
        collect(self._fleet(options), Namespace(**options), self.stdout)

    def _results(self, options: dict[str, Any]) -> None:
        export(self._fleet(options), Namespace(**options), self.stdout)

    def _secret(self, options: dict[str, Any]) -> None:
        secret(self._fleet(options), Namespace(**options), self.stdout)

    def _dead(self, options: dict[str, Any]) -> None:
        dead_letters(self._fleet(options), Namespace(**options), self.stdout)
