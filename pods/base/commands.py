"""The base class of our commands, and how they word what is wrong."""

import logging
import sys
from argparse import ArgumentParser, ArgumentTypeError, _SubParsersAction
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import takewhile
from typing import Any, Final, Literal, Protocol

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import DatabaseError, models
from rich.console import Console

from pods.base import acting
from pods.base.command_name import how_to_run

LONGEST_SECONDS: Final = 7 * 24 * 3600
# An attribute of a parser: what it says of arguments that it does not know, instead of repeating them.
UNKNOWN: Final = "text_for_unknown_arguments"
# The words by which SQLite and PostgreSQL say what an operator can mend, and the advice on each.
DATABASE_ADVICE: Final = (
    (
        ("no such table", "no such column", "undefinedtable", "undefinedcolumn"),
        f"the database has no tables of this version; make them with `{how_to_run('prepare')}` "
        f"(`{how_to_run('up')}` and `{how_to_run('demo')}` do it too), then run this again",
    ),
    (
        ("database is locked", "database table is locked"),
        "another process holds the SQLite database; wait until it has finished or end it, then run "
        "this again",
    ),
    (
        ("readonly database", "unable to open database file", "disk i/o error", "not a database"),
        "the SQLite database cannot be used; check its path, its rights and the disk",
    ),
    (
        (
            *("connection", "could not translate host name", "failed to resolve host"),
            *("name or service not known", "password authentication failed"),
        ),
        "the database does not accept the connection; check DATABASE_URL, and that the server runs",
    ),
)


class OwnCommand(BaseCommand):
    """A command that answers without a trace what an operator can mend.

    It words the errors of a database without tables, that is locked or that does not answer. It also
    refuses `--name=--`: CPython 3.11 drops such a `--` and passes an empty list as the value, which
    no command expects. Later versions pass `--`, which is not a value of any of our options. Options
    cannot be shortened.

    Django's system checks import every page. The commands that start or prepare the stack run them.
    """

    requires_system_checks: list[str] | tuple[str, ...] | Literal["__all__"] = ()

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command; it shows its answer, not the tries before it.

        Raises:
            CommandError: the database cannot be used; the message says what to do.
        """
        quiet = _quiet("stamina"), _quiet("pods.providers.observed")
        try:
            with acting.by_a_command(), quiet[0], quiet[1]:
                return super().execute(*args, **options)
        except DatabaseError as exc:
            advice = database_advice(exc)
            if advice is None:
                raise
            raise CommandError(advice) from exc

    def create_parser(self, *args: Any, **kwargs: Any) -> CommandParser:
        """Django's parser and those of its sub-commands, each of our class."""
        parser = super().create_parser(*args, **kwargs)
        _become_ours(parser)
        return parser


class AddVerb(Protocol):
    """Adds a subcommand."""

    def __call__(self, name: str, text: str, *, named: bool = True) -> ArgumentParser:
        """The parser of a subcommand; `named`: it is about the row with a name."""
        ...


def verbs_of(parser: ArgumentParser) -> AddVerb:
    """Give a command subcommands, each with `--json`."""
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, text: str, *, named: bool = True) -> ArgumentParser:
        sub: ArgumentParser = verbs.add_parser(name, help=text, description=text)
        if named:
            sub.add_argument("name", metavar="NAME")
        sub.add_argument("--json", action="store_true", help="Print JSON.")
        return sub

    return verb


@contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Log only errors: retries of calls, and calls that failed, are in the command's answer."""
    logger = logging.getLogger(name)
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


class CommandConsole(Console):
    """A console that leaves a pipe without a reader to `closed_output`, which knows the exit status."""

    def on_broken_pipe(self) -> None:
        """Let the error pass; the original ends the process with status 1."""
        raise  # noqa: PLE0704 - rich calls this while it handles the error


class _Parser(CommandParser):
    def parse_known_args(  # type: ignore[override]  # the overloads of typeshed say the same
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        words = sys.argv[1:] if args is None else args
        for word in takewhile(lambda word: word != "--", words):
            if word.startswith("--") and word.endswith("=--"):
                self.error(f"{word.removesuffix('=--')}: -- is not a value")
        found, unknown = super().parse_known_args(args, namespace)
        if unknown:
            # Here, and not in the parser above, whose usage has none of this subcommand's options.
            self.error(getattr(self, UNKNOWN, "") or f"unrecognized arguments: {' '.join(unknown)}")
        return found, unknown


def _become_ours(parser: CommandParser) -> None:
    parser.__class__ = _Parser  # Django offers no way to choose another class
    parser.allow_abbrev = False  # a new option could change what a shortened one means
    for action in parser._actions:
        if isinstance(action, _SubParsersAction):
            for sub in action.choices.values():
                _become_ours(sub)


def database_advice(error: DatabaseError) -> str | None:
    """What an operator can do about this error; None if it is not one that an operator can mend."""
    said = " ".join(str(error).split())
    words = f"{type(error.__cause__).__name__} {said}".lower()
    for known, advice in DATABASE_ADVICE:
        if any(word in words for word in known):
            return f"{advice} ({said})"
    return None


def seconds(text: str) -> float:
    """A number of seconds that a person typed, above 0 and at most a week.

    Raises:
        ArgumentTypeError: it is something else, such as NaN or infinity.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= LONGEST_SECONDS:
        raise ArgumentTypeError(
            f"{text!r} is not a time; give seconds above 0, at most {LONGEST_SECONDS} (a week)"
        )
    return value


def error_lines(error: ValidationError, model: type[models.Model] | None = None) -> list[str]:
    """Texts such as `field: what is wrong`, one for each error, with the choices of the field."""
    if not hasattr(error, "error_dict"):
        return list(error.messages)
    return [
        line for name, errors in error.error_dict.items() for line in _lines(name, errors, model)
    ]


def _lines(
    name: str, errors: Sequence[ValidationError], model: type[models.Model] | None
) -> Iterator[str]:
    fields = {} if model is None else {f.name: f for f in model._meta.concrete_fields}
    for error in errors:
        where = "" if name == NON_FIELD_ERRORS else f"{name}: "
        choices = (
            fields[name].choices if name in fields and error.code == "invalid_choice" else None
        )
        known = (
            "; choose one of " + ", ".join(str(value) for value, _ in choices) if choices else ""
        )
        for text in error.messages:
            yield where + (text.rstrip(".") + known if known else text)
