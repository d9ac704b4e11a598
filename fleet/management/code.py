"""Runs `fleet create --script`, `fleet set --script`, `fleet rollback` and `fleet check`."""

import getpass
import json
from argparse import ArgumentParser, Namespace
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError, OutputWrapper

from fleet import keeping_code
from fleet.code.dependencies import BadCode
from fleet.code.packing import Packed, pack
from fleet.models import Fleet
from pods.plural import plural

SHOWN = 5  # names of files that were left out


def add_script_arguments(*parsers: ArgumentParser) -> None:
    """Add `--script`."""
    for parser in parsers:
        parser.add_argument(
            "--script",
            metavar="PATH",
            help="A script NAME.py, or a folder, that the pods run; its handler is NAME:handle, unless "
            "--handler names another one.",
        )


def packed_of(options: dict[str, Any], handler: str = "") -> Packed | None:
    """The code that the options name; None: they name none. `handler`: where the options name none.

    Raises:
        CommandError: it cannot work; nothing was changed.
    """
    if options.get("script") is None:
        return None
    path = Path(options["script"])
    try:
        return pack(path, options.get("handler") or ("" if path.is_file() else handler))
    except BadCode as exc:
        raise CommandError(f"{exc}; nothing was changed") from exc


def create(options: dict[str, Any], packed: Packed, fields: dict[str, Any]) -> Fleet:
    """Create a fleet with code."""
    seconds = options["tick_seconds"]
    return keeping_code.create_fleet(
        options["name"],
        packed,
        accounts=options["account"],
        tick=None if seconds is None else timedelta(seconds=seconds),
        by=getpass.getuser(),
        **fields,
    )


def said_of(fleet: Fleet, packed: Packed) -> str:
    """What was packed, and what was left out of it."""
    size = f"{len(packed.archive) / 1024:,.0f} KB"
    wants = plural(len(packed.requirements), "requirement")
    lines = [
        f"{fleet.name}: code version {fleet.code_number} from {packed.source} ({size}, {wants}), "
        f"handler {packed.handler}"
    ]
    if packed.left_out:
        names = ", ".join(packed.left_out[:SHOWN])
        more = len(packed.left_out) - SHOWN
        lines.append(f"left out: {names}" + (f" and {more} more" if more > 0 else ""))
    return "\n".join(lines)


def change(fleet: Fleet, packed: Packed, fields: dict[str, Any]) -> str:
    """Give a fleet other code, and say what happens."""
    before = fleet.code_number
    published = keeping_code.set_code(fleet, packed, fields, by=getpass.getuser())
    if fleet.code_number == before:
        return f"{fleet.name}: the code is the same as before (version {before})"
    text = said_of(fleet, packed)
    if not published:
        text += "\nRedis does not answer; the next tick publishes it"
    return f"{text}\npods with other code are replaced when the first pod with this code works"


def rollback(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Give the fleet the code before its present one."""
    code = keeping_code.rollback(fleet, by=getpass.getuser())
    if options.json:
        stdout.write(
            json.dumps({"name": fleet.name, "version": code.number, "digest": code.digest})
        )
        return
    stdout.write(
        f"{fleet.name}: code version {code.number} from {code.source} of {code.made_at:%F %H:%M} UTC; "
        "pods with other code are replaced"
    )
