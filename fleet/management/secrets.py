"""Runs `fleet secret`: sets, lists and removes a fleet's secrets. A value is never an argument."""

import getpass
import json
import os
import sys
from argparse import SUPPRESS, ArgumentParser, Namespace

from django.core.exceptions import ValidationError
from django.core.management.base import CommandError, OutputWrapper
from rich.table import Table

from fleet import keeping_secrets
from fleet.models import Fleet
from fleet.secrets import checking
from fleet.secrets.opening import Unreadable
from pods.base.commands import UNKNOWN, CommandConsole

NEVER = (
    "never give a value on the command line: your shell's history and `ps` show it, so change this "
    "value where it is used; give the new one with --stdin or --from-env VARIABLE, or type it when "
    "asked"
)


def add_secret_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `fleet secret`."""
    parser.add_argument("action", choices=["set", "list", "remove"])
    parser.add_argument("name", metavar="NAME")
    parser.add_argument(
        "key", metavar="KEY", nargs="?", help="The environment variable, such as HF_TOKEN."
    )
    # Caught here and below, so that no message repeats it.
    setattr(parser, UNKNOWN, NEVER)
    parser.add_argument("value", nargs="*", help=SUPPRESS)
    parser.add_argument("--value", dest="option", help=SUPPRESS)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--stdin",
        action="store_true",
        help="Read the value from standard input (without its last line end).",
    )
    where.add_argument(
        "--from-env", metavar="VARIABLE", help="Take the value of this environment variable."
    )


def secret(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Set, list or remove secrets.

    Raises:
        CommandError: the name or the value cannot be used.
    """
    if options.value or options.option is not None or "=" in (options.key or ""):
        raise CommandError(NEVER, returncode=2)
    if options.action == "list":
        _list(fleet, options, stdout)
        return
    if not options.key:
        raise CommandError(
            f"`fleet secret {options.action} NAME KEY`: KEY is missing", returncode=2
        )
    act = _set if options.action == "set" else _remove
    try:
        act(fleet, options, stdout)
    except Unreadable as exc:
        raise CommandError(f"stored, but not sent to the pods: {exc}") from exc


def _set(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    _check_before_asking(options.key)
    value = _value(options)
    there = keeping_secrets.set_secret(fleet, options.key, value, by=getpass.getuser())
    _tell(fleet, options, stdout, "set", there=there)


def _check_before_asking(name: str) -> None:
    """A person who types a value should not do so in vain.

    Raises:
        ValidationError: the name cannot be used.
    """
    checking.check_name(name)


def _remove(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    there = keeping_secrets.remove_secret(fleet, options.key, by=getpass.getuser())
    _tell(fleet, options, stdout, "removed", there=there)


def _value(options: Namespace) -> str:
    if options.from_env is not None:
        value = os.environ.get(options.from_env, "")
        if not value:
            raise CommandError(f"the environment variable {options.from_env} is missing or empty")
        return value
    if options.stdin:
        return _of_bytes(sys.stdin.buffer.read(checking.LARGEST + 3))
    if not sys.stdin.isatty():
        raise CommandError(
            "nobody can type the value here; give --stdin or --from-env VARIABLE",
            returncode=2,
        )
    return getpass.getpass(f"{options.key}: ")


def _of_bytes(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError as exc:
        raise ValidationError({"value": "it is not text in UTF-8; encode it as base64"}) from exc
    return text.removesuffix("\n").removesuffix("\r")


def _tell(
    fleet: Fleet, options: Namespace, stdout: OutputWrapper, did: str, *, there: bool
) -> None:
    if options.json:
        answer = {"fleet": fleet.name, "secret": options.key, "did": did, "in_redis": there}
        stdout.write(json.dumps(answer))
        return
    effect = keeping_secrets.effect(fleet, options.key, removed=did == "removed", there=there)
    stdout.write(f"{fleet.name}: {options.key} {did}; {effect}")


def _list(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    rows = keeping_secrets.listed(fleet)
    if options.json:
        stdout.write(
            json.dumps(
                [
                    {
                        "name": row.name,
                        "set_at": row.set_at.isoformat(),
                        "set_by": row.set_by,
                        "readable": row.readable,
                    }
                    for row in rows
                ]
            )
        )
        return
    table = Table(box=None)
    for column in ("secret", "set", "by", ""):
        table.add_column(column)
    for row in rows:
        state = "" if row.readable else "cannot be read: another key encrypted it; set it again"
        table.add_row(row.name, f"{row.set_at:%F %H:%M} UTC", row.set_by, state)
    none = f"no secrets; set one with `fleet secret set {fleet.name} KEY`"
    CommandConsole().print(table if rows else none, soft_wrap=True)
