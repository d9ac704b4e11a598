"""Runs `fleet plan`, `fleet apply` and `fleet export`."""

import json
import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from django.core.management.base import CommandError, OutputWrapper

from fleet.declarations import applying, exporting, scripts, tables
from fleet.declarations.applying import Plan
from fleet.declarations.differences import Action, Change
from fleet.declarations.documents import Declared, read
from fleet.management.fleet_names import fleet_named
from fleet.models import Fleet
from fleet.pages.words import printable

YAML_ENDINGS: Final = frozenset({".yaml", ".yml"})
SIGNS: Final = {Action.CREATE: "+", Action.CHANGE: "~", Action.RESTORE: "+", Action.ARCHIVE: "-"}
WORDS: Final = {
    Action.CREATE: "create",
    Action.CHANGE: "change",
    Action.RESTORE: "bring back",
    Action.ARCHIVE: "archive when its last pod has ended",
}


def add_plan_arguments(plan: ArgumentParser, apply: ArgumentParser) -> None:
    """Add the arguments of `fleet plan` and `fleet apply`."""
    for parser in (plan, apply):
        parser.add_argument(
            "file", metavar="FILE", type=Path, help="fleet.toml, or .yaml; - reads TOML from stdin."
        )
        parser.add_argument(
            "--prune", action="store_true", help="Archive the fleets that the file does not name."
        )
    apply.add_argument("--yes", action="store_true", help="Apply without asking.")


def add_export_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `fleet export`."""
    parser.add_argument("names", metavar="NAME", nargs="*", help="These fleets (all in use).")
    parser.add_argument("--yaml", action="store_true", help="Write YAML instead of TOML.")
    parser.add_argument(
        "--schema", action="store_true", help="Write the JSON schema of a file, for editors."
    )


def plan(asked: Namespace, out: OutputWrapper) -> None:
    """Show what `apply` of a file would change; change nothing."""
    _show(applying.plan(_declared(asked), prune=asked.prune), asked, out, done=False)


def apply(asked: Namespace, out: OutputWrapper, err: OutputWrapper, *, by: str) -> None:
    """Show what a file changes, ask, and change it.

    Raises:
        CommandError: nobody said yes.
        WrongDocument: the file is wrong.
        PlanChanged: a fleet changed meanwhile. Nothing was written.
    """
    declared = _declared(asked)
    shown = applying.plan(declared, prune=asked.prune)
    if shown.changes and not asked.yes:
        _ask(shown, asked, out)
    notes = applying.apply(declared, shown, prune=asked.prune, by=by)
    if asked.yes or asked.json or not shown.changes:
        _show(shown, asked, out, done=True)
    else:
        out.write("applied; in force from the next tick")
    for note in notes:
        err.write(note)


def export(asked: Namespace, out: OutputWrapper, err: OutputWrapper) -> None:
    """Write the fleets as a file that declares them."""
    if asked.schema:
        out.write(json.dumps(tables.schema(), indent=2))
        return
    in_use = Fleet.objects.filter(archived_at=None).order_by("name")
    fleets = [fleet_named(name) for name in asked.names] or list(
        in_use.select_related("schedule__interval")
    )
    found = exporting.export(fleets)
    if asked.json:
        out.write(json.dumps(found.document))
        for note in found.notes:  # JSON has no comments
            err.write(note)
    else:
        out.write(exporting.as_yaml(found) if asked.yaml else exporting.as_toml(found), ending="")
    for variable in found.variables:
        err.write(f"{variable} must be set to the address when this file is used")


def _declared(asked: Namespace) -> tuple[Declared, ...]:
    """The fleets of the file.

    Raises:
        CommandError: it cannot be read.
    """
    path: Path = asked.file
    try:
        text = sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except UnicodeDecodeError as exc:
        raise CommandError(f"{path} is not text in UTF-8") from exc
    except OSError as exc:
        raise CommandError(f"{path}: {exc.strerror or exc}") from exc
    found = read(
        text.removeprefix("\ufeff"), is_yaml=path.suffix in YAML_ENDINGS, environment=os.environ
    )
    return scripts.with_code(found, path.parent)


def _ask(shown: Plan, asked: Namespace, out: OutputWrapper) -> None:
    if asked.json or not sys.stdin.isatty():
        raise CommandError(f"{_total(shown)}; add --yes to apply it", returncode=2)
    _show(shown, asked, out, done=False)
    out.write("Apply this? [y/N] ", ending="")
    out.flush()
    if input().strip().lower() not in {"y", "yes"}:
        raise CommandError("nothing was changed")


def _show(shown: Plan, asked: Namespace, out: OutputWrapper, *, done: bool) -> None:
    if asked.json:
        changes = [change.as_json() for change in shown.changes]
        answer = {"changes": changes, "left_alone": list(shown.left_alone), "applied": done}
        out.write(json.dumps(answer))
        return
    for change in shown.changes:
        for line in _lines(change):
            out.write(line)
    if shown.left_alone:
        out.write(f"  not in the file, left alone: {', '.join(shown.left_alone)}")
    out.write(f"{'applied' if done else 'to do'}: {_total(shown)}")


def _lines(change: Change) -> Iterator[str]:
    yield f"{SIGNS[change.action]} {change.fleet}: {WORDS[change.action]}"
    for field in change.fields:
        after = _value(field.after)
        new = change.action is Action.CREATE
        yield f"    {field.name}: " + (after if new else f"{_value(field.before)} → {after}")


def _value(value: Any) -> str:
    if value is None or value == "":
        return "empty"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return printable(text)


def _total(shown: Plan) -> str:
    counts = dict.fromkeys(Action, 0)
    for change in shown.changes:
        counts[change.action] += 1
    parts = [f"{count} to {WORDS[action]}" for action, count in counts.items() if count]
    return ", ".join(parts) or "nothing to change"
