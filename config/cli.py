"""The command line: what `podfleet` of the wheel and `manage.py` of a checkout share."""

import gc
import os.path
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.core.management import execute_from_command_line

from config.doctor import judging
from config.doctor.findings import ERRORS, Finding, as_json, as_text
from config.env import env
from config.version import version
from pods.base.acting import by_a_command
from pods.base.closed_output import ending_quietly
from pods.base.command_name import how_to_run

EXAMPLES: Final = """\
Podfleet runs a fleet of rented GPU pods against one backlog, and turns the pods off again.

Try it here; it costs nothing:
  {demo:<31} 3 local pods embed 11,000 texts, in about 2 minutes
  {up:<31} web pages, workers and scheduler, until Ctrl-C

Run a fleet (`up` must run):
  {fleet} create emb --stream texts --group texts --max-instances 3 \\
      --handler pods.agent.handlers.wordllama:embed
  {fleet} enqueue emb texts.txt
  {fleet} watch emb
  {fleet} results emb --out embeddings.jsonl
  {fleet} stop-all emb

Keep fleets in a file, and ask what work would cost:
  {plan:<31} what would change; then `apply fleet.toml`
  {quote}

Find out what is wrong, and what to do about it:
  {doctor}

Commands; `{one}` shows the options of one:
"""
# What users need. `help --commands` lists all, with those of Django.
COMMANDS: Final[Mapping[str, str]] = {
    "demo": "embed a dataset of real texts with 3 local pods, and show it",
    "up": "run the whole stack in the foreground",
    "down": "stop the stack",
    "doctor": "check the installation, and say what to do about each fault",
    "init": "write .env with new secrets for a deployment",
    "prepare": "bring the tables up to date, and make the first administrator",
    "fleet": "create, change, feed, show and stop fleets",
    "account": "manage accounts of vendors and their keys",
    "offers": "show what can be rented, and what an item costs there",
    "alerts": "read and answer alerts, and manage their channels",
    "machines": "list machines without a pod, and adopt or destroy them",
    "costs": "write what pods cost, as FOCUS 1.2",
    "user": "sign a user in without a password, or remove a lost second factor",
    "audit": "write who changed what and who signed in, as a table, JSON or CSV",
    "token": "make and revoke tokens of the REST API",
    "emulate": "serve an emulated vendor, to try a fleet without money",
    "reseal": "encrypt all stored secrets with the present field key",
    "completion": "print the completion of commands for bash, zsh or fish",
}
# A command imports some thousand modules, which stay. Looking for garbage among them at Python's
# threshold of 700 objects took a fifth of the time of `fleet list`.
OBJECTS_BETWEEN_COLLECTIONS: Final = 50_000
# Subcommands of `fleet` that are found without it.
SHORT: Final = ("plan", "apply", "export", "quote", "shadow", "what-if")
# Commands of Django that change users, and do not know the audit log.
OF_PEOPLE: Final = ("createsuperuser", "changepassword")
HELP: Final[tuple[list[str], ...]] = ([], ["-h"], ["--help"], ["help"])


def main(argv: Sequence[str]) -> None:
    """Run the command in `argv` as the only work of this process."""
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    run(argv)


def run(argv: Sequence[str]) -> None:
    """Run the command in `argv`; its first word is how the user started us.

    Raises:
        SystemExit: the command failed, or a setting is wrong; the message says what.
    """
    words = list(argv[1:])
    with ending_quietly():
        if words in HELP:
            sys.stdout.write(help_text())
        elif words == ["--version"]:
            sys.stdout.write(f"podfleet {version()}\n")
        else:
            if fault := _fault_of_settings():
                _refuse(fault, words)
            _execute([argv[0], *_in_full(words)])


def _in_full(words: Sequence[str]) -> Sequence[str]:
    """`plan fleet.toml` is `fleet plan fleet.toml`."""
    return ["fleet", *words] if words[:1] and words[0] in SHORT else words


def _execute(argv: Sequence[str]) -> None:
    try:
        if argv[1:2] and argv[1] in OF_PEOPLE:
            # No transaction around it: Django closes the connection in there, which ends one unwritten.
            with by_a_command():
                execute_from_command_line(list(argv))
        else:
            execute_from_command_line(list(argv))
    except ImproperlyConfigured as exc:
        raise SystemExit(f"{exc}") from None


def _fault_of_settings() -> Finding | None:
    """Why the settings cannot be used; without them no command can run, and no part be looked at."""
    try:
        _ = settings.INSTALLED_APPS  # the first look reads them
    except ImproperlyConfigured as exc:
        return judging.settings_wrong(str(exc))
    except OSError as exc:  # the generated secrets are read and written there
        folder = env().var_dir
        places = (folder, *folder.parents)
        file = next((str(path) for path in places if os.path.isfile(path)), "")  # noqa: PTH113 - never raises
        said = exc.strerror or type(exc).__name__
        return judging.folder_unusable(str(folder), said, file=file)
    return None


def _refuse(fault: Finding, words: Sequence[str]) -> None:
    if words[:1] != ["doctor"]:
        raise SystemExit(f"{fault.cause}; {fault.remedy}")
    json = "--json" in words
    sys.stdout.write((as_json([fault], version()) if json else as_text([fault])) + "\n")
    raise SystemExit(ERRORS)


def help_text() -> str:
    """Examples, and one line for each command."""
    examples = EXAMPLES.format(
        demo=how_to_run("demo"),
        up=how_to_run("up"),
        fleet=how_to_run("fleet"),
        plan=how_to_run("plan fleet.toml"),
        quote=how_to_run("quote emb --items 60000000"),
        doctor=how_to_run("doctor"),
        one=how_to_run("COMMAND --help"),
    )
    rows = [f"  {name:<12} {text}" for name, text in COMMANDS.items()]
    more = f"`{how_to_run('help --commands')}` lists all, with those of Django.\n"
    return examples + "\n".join([*rows, "", more])
