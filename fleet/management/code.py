"""Runs `fleet create --script`, `fleet set --script`, `fleet rollback` and `fleet check`."""

import getpass
import json
from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError, OutputWrapper
from redis import RedisError

from fleet import keeping_code
from fleet.code import channel, importing, leaving_out, trying
from fleet.code.dependencies import BadCode
from fleet.code.packing import Packed, pack
from fleet.code.trying import Tried
from fleet.models import Fleet
from pods.base.redis import redis_client
from pods.plural import plural

SHOWN = 5  # results of a check
MOST_TRIED = 100_000  # items of one check, which are in memory at once
# Options that a ready handler reads from the environment: pods/agent/handlers/options.py.
READY = {"model": "HANDLER_MODEL", "input_field": "HANDLER_INPUT_FIELD"}


def add_script_arguments(parser: ArgumentParser) -> None:
    """Add `--script`."""
    parser.add_argument(
        "--script",
        metavar="PATH",
        help="A script NAME.py, or a folder, that the pods run; its handler is NAME:handle, unless "
        "--handler names another one.",
    )


def add_code_arguments(parser: ArgumentParser) -> None:
    """Add `--script`, and the options of ready handlers, which are variables of `handler_env`."""
    add_script_arguments(parser)
    parser.add_argument(
        "--model",
        metavar="NAME",
        help="The model of a ready handler whose script does not name one; '' takes it away.",
    )
    parser.add_argument(
        "--input-field",
        metavar="FIELD",
        help="The field of an item that a ready handler works on; '' takes it away.",
    )


def with_ready_options(
    options: Mapping[str, Any], fields: dict[str, Any], present: Mapping[str, str]
) -> dict[str, Any]:
    """The fields with the given options in `handler_env`. `present`: what the fleet has of it now."""
    given = {READY[name]: options[name] for name in READY if options.get(name) is not None}
    if not given:
        return fields
    merged = {**fields.get("handler_env", present), **given}
    kept = {name: value for name, value in merged.items() if value or name not in given}
    return {**fields, "handler_env": kept}


def packed_of(options: dict[str, Any], handler: str = "") -> Packed | None:
    """The code that the options name; None: they name none. `handler`: where the options name none.

    Raises:
        CommandError: it cannot work; nothing was changed.
    """
    if options.get("script") is None:
        return None
    path = Path(options["script"])
    # A fleet keeps the function of its script; another script has another handler.
    known = handler if path.is_dir() or handler.partition(":")[0] == path.stem else ""
    try:
        return pack(path, options.get("handler") or known)
    except BadCode as exc:
        raise CommandError(f"{exc}; nothing was changed") from exc


def imported(packed: Packed, handler_env: Mapping[str, str]) -> str:
    """Import the code in a child, and say what that showed.

    Raises:
        CommandError: it cannot work on any machine; nothing was changed.
    """
    found = importing.import_code(packed, handler_env)
    if found.wrong:
        raise CommandError(f"{found.wrong}; nothing was changed")
    return found.said


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


def said_of(fleet: Fleet, packed: Packed, shown: str) -> str:
    """What was packed, what was left out of it, and what its import showed."""
    size = f"{max(1, len(packed.archive) // 1024):,} KB"
    wants = plural(len(packed.requirements), "requirement")
    lines = [
        f"{fleet.name}: code version {fleet.code_number} from {packed.source} ({size}, {wants}), "
        f"handler {packed.handler}"
    ]
    if packed.left_out:
        lines.append(f"left out: {leaving_out.named(packed.left_out)}")
    return "\n".join([*lines, shown])


def change(fleet: Fleet, packed: Packed, fields: dict[str, Any]) -> str:
    """Give a fleet other code, and say what happens."""
    before = fleet.code_number
    shown = ""
    if packed.digest != fleet.bundle:
        shown = imported(packed, fields.get("handler_env", fleet.handler_env))
    published = keeping_code.set_code(fleet, packed, fields, by=getpass.getuser())
    if fleet.code_number == before:
        return f"{fleet.name}: the code is the same as before (version {before})"
    text = said_of(fleet, packed, shown)
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


def add_check_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `fleet check`."""
    parser.add_argument(
        "--item",
        action="append",
        default=[],
        metavar="TEXT",
        help="An item to try; may be repeated.",
    )
    parser.add_argument(
        "--items",
        type=_count,
        default=64,
        metavar="N",
        help="Without --item: try at most N of the oldest items of the backlog (default: 64).",
    )
    add_script_arguments(parser)


def _count(text: str) -> int:
    right = text.isascii() and text.isdigit() and len(text) <= len(str(MOST_TRIED))
    if not right or not 1 <= int(text) <= MOST_TRIED:
        raise ArgumentTypeError(f"{text!r}: give 1 to {MOST_TRIED} items")
    return int(text)


def check(fleet: Fleet, options: Namespace, stdout: OutputWrapper) -> None:
    """Try the handler on this machine, and say what it did.

    Raises:
        CommandError: there is nothing to try, or something is wrong.
    """
    if not fleet.on_stream:
        raise CommandError(f"{fleet.name} runs a Celery app, and a check calls handlers alone")
    code = _code_of(fleet, options)
    items = [{"fields": {"payload": text}} for text in options.item] or first_items(
        fleet, options.items
    )
    if not items:
        raise CommandError(f"no item waits for {fleet.name}; give one with --item TEXT")
    tried = trying.try_code(fleet, *code, items) if code else trying.try_own(fleet, items)
    stdout.write(json.dumps(tried.as_json()) if options.json else text_of(tried))
    if tried.wrong:
        raise CommandError("; ".join(tried.wrong))


def _code_of(fleet: Fleet, options: Namespace) -> tuple[str, bytes, str] | None:
    """The digest, the archive and the handler to try; None: the handler is one of the agent's own.

    Raises:
        CommandError: the code is not here.
    """
    packed = packed_of({"script": options.script}, fleet.handler)
    if packed is not None:
        return packed.digest, packed.archive, packed.handler
    present = keeping_code.current(fleet)
    if present is not None and (body := channel.archive_of(fleet, present.digest)) is not None:
        return present.digest, body, fleet.handler
    if present is None and fleet.handler.startswith(trying.OWN_HANDLERS):
        return None
    raise CommandError(
        f"the image of {fleet.name} has its code; name other code with --script, or give it code "
        "with `fleet set --script`"
    )


def first_items(fleet: Fleet, most: int) -> list[dict[str, Any]]:
    """The oldest items of the fleet's stream. They are read, not taken.

    Raises:
        CommandError: the fleet's items are rows of files, or its server does not answer.
    """
    if fleet.is_dataset:
        raise CommandError(
            f"the items of {fleet.name} are not read here; give one with --item TEXT"
        )
    try:
        found: Any = redis_client(fleet.backlog_url or settings.REDIS_URL).xrange(
            fleet.stream, count=most
        )
    except RedisError as exc:
        raise CommandError(f"the backlog cannot be read: {exc}") from exc
    return [{"entry": _text(entry), "fields": _texts(fields)} for entry, fields in found]


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")


def _texts(fields: dict[bytes, bytes]) -> dict[str, str]:
    return {_text(name): _text(value) for name, value in fields.items()}


def text_of(tried: Tried) -> str:
    """What a try showed, for people. The command ends with the reason, so that is not in it."""
    shown, trace = tried.results[:SHOWN], tried.traceback.splitlines()
    lines = [f"{r['id']}: {_outcome(r, tried)}" for r in shown]
    if len(tried.results) > SHOWN:
        lines.append(f"and {len(tried.results) - SHOWN} more")
    for batch in tried.batches:
        rate = batch["items"] / max(batch["seconds"], 1e-6)
        lines.append(f"batch of {batch['items']}: {batch['seconds']:.3f} s, {rate:,.1f} items/s")
    if tried.load_seconds is not None:
        lines.append(f"loaded in {tried.load_seconds:.1f} s")
    if tried.memory_mb is not None:
        lines.append(f"peak memory {tried.memory_mb:,.0f} MB")
    lines += [f"note: {text}" for text in tried.warnings]
    if tried.wrong:
        lines += _unsaid([*tried.printed, *trace], tried)
    else:
        lines.append("nothing is wrong")
    return "\n".join(lines)


def _outcome(result: Mapping[str, Any], tried: Tried) -> Any:
    error = result.get("error")
    if error and any(reason.endswith(error) for reason in tried.wrong):
        return "failed"
    return error or result.get("result")


def _unsaid(lines: Sequence[str], tried: Tried) -> Sequence[str]:
    """The lines that no reason repeats."""
    return [x for x in lines if not any(_repeats(reason, x.strip()) for reason in tried.wrong)]


def _repeats(reason: str, line: str) -> bool:
    return reason.endswith((f": {line}", f" | {line}")) or f" {line} | " in reason
