"""Every command refuses `--name=--` with our message, on every version of Python."""

import logging
import re
import sys
from argparse import ArgumentTypeError
from io import StringIO
from typing import Any

import pytest
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.management import (
    CommandError,
    call_command,
    execute_from_command_line,
    get_commands,
)
from django.db import OperationalError

from pods.base import commands
from pods.base.commands import OwnCommand
from pods.models import Account

OURS = sorted(name for name, app in get_commands().items() if app in {"config", "fleet", "pods"})
REFUSAL = "--some-name: -- is not a value"


def test_there_are_commands() -> None:
    assert {"fleet", "account", "up"} <= set(OURS)


@pytest.mark.parametrize("name", OURS)
def test_two_dashes_are_not_a_value(name: str) -> None:
    with pytest.raises(CommandError, match=REFUSAL):
        call_command(name, "--some-name=--")


def test_two_dashes_are_not_a_value_of_a_subcommands_option() -> None:
    with pytest.raises(CommandError, match="--handler-env: -- is not a value"):
        call_command("fleet", "create", "emb", "--handler", "a:b", "--handler-env=--")


def test_on_the_command_line_the_usage_is_shown(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        execute_from_command_line(["manage.py", "fleet", "create", "emb", "--stream=--"])
    assert ended.value.code == 2
    assert "--stream: -- is not a value" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "short"),
    [
        (("fleet", "create", "emb", "--handler", "a:b", "--max-instance", "3"), "--max-instance 3"),
        (("demo", "--text", "somewhere"), "--text somewhere"),
    ],
)
def test_an_option_cannot_be_shortened(words: tuple[str, ...], short: str) -> None:
    with pytest.raises(CommandError, match=f"unrecognized arguments: {short}$"):
        call_command(*words)


def test_the_usage_after_an_unknown_option_has_the_options_of_the_subcommand(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        execute_from_command_line(
            ["manage.py", "fleet", "watch", "emb", "--seconds", "1", "--bogus"]
        )
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "[--until-empty]" in said
    assert "unrecognized arguments: --bogus" in said


@pytest.mark.parametrize(
    ("argv", "given", "says"),
    [
        (["--some-name=--"], None, REFUSAL),
        ([], ["--some-name=--"], REFUSAL),
        ([], ["--", "--some-name=--"], "unrecognized arguments"),  # a word, and no option
        ([], ["name=--"], "unrecognized arguments"),
    ],
)
def test_only_options_are_checked_for_two_dashes(
    monkeypatch: pytest.MonkeyPatch, argv: list[str], given: list[str] | None, says: str
) -> None:
    monkeypatch.setattr(sys, "argv", ["manage.py", *argv])
    parser = Quiet().create_parser("manage.py", "quiet")
    with pytest.raises(CommandError, match=says):
        parser.parse_known_args(given)


def test_a_command_may_say_otherwise_what_is_wrong_with_unknown_arguments() -> None:
    parser = Quiet().create_parser("manage.py", "quiet")
    setattr(parser, commands.UNKNOWN, "give the key on standard input")
    with pytest.raises(CommandError, match="give the key on standard input"):
        parser.parse_known_args(["--key", "of a vendor"])


class Quiet(OwnCommand):
    """A command that says which lines about tries are logged while it runs."""

    requires_system_checks = ()

    def handle(self, *args: object, **options: object) -> str:
        """Return the level as a number."""
        return str(logging.getLogger("stamina").level)


def test_a_command_logs_no_line_about_each_try(monkeypatch: pytest.MonkeyPatch) -> None:
    retries = logging.getLogger("stamina")
    monkeypatch.setattr(retries, "level", logging.WARNING)
    assert call_command(Quiet(), stdout=StringIO()) == str(logging.ERROR)
    assert retries.level == logging.WARNING


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon", "604801"])
def test_what_is_not_a_time_is_refused(text: str) -> None:
    with pytest.raises(ArgumentTypeError, match="is not a time"):
        commands.seconds(text)


@pytest.mark.parametrize(("text", "value"), [("0.5", 0.5), ("604800", 604800.0)])
def test_seconds_up_to_a_week_are_a_time(text: str, value: float) -> None:
    assert commands.seconds(text) == value


def test_an_error_names_its_field_and_the_choices_of_that_field() -> None:
    wrong = Account(name="main", provider="runpod", orphans="keep")
    with pytest.raises(ValidationError) as refused:
        wrong.clean_fields(exclude=["provider", "name"])
    [line] = commands.error_lines(refused.value, Account)
    assert line == "orphans: Value 'keep' is not a valid choice; choose one of adopt, destroy"
    [line] = commands.error_lines(refused.value)
    assert line == "orphans: Value 'keep' is not a valid choice."
    blank = ValidationError({"orphans": ValidationError("It is blank.", code="blank")})
    assert commands.error_lines(blank, Account) == ["orphans: It is blank."]


def test_an_error_of_the_whole_row_names_no_field() -> None:
    assert commands.error_lines(ValidationError({NON_FIELD_ERRORS: ["two of a kind"]})) == [
        "two of a kind"
    ]
    assert commands.error_lines(ValidationError("plain")) == ["plain"]


@pytest.mark.parametrize("text", ["database is locked", "no such table: fleet_fleet"])
def test_an_error_of_the_database_that_an_operator_can_mend_comes_with_advice(text: str) -> None:
    class Fails(commands.OwnCommand):
        def run(self, **_: Any) -> None:
            raise OperationalError(text)

        handle = run

    with pytest.raises(CommandError, match=re.escape(f"({text})")):
        call_command(Fails())


def test_another_error_of_the_database_is_shown_as_it_is() -> None:
    class Fails(commands.OwnCommand):
        def handle(self, **_: Any) -> None:
            raise OperationalError("the disk is on fire")

    with pytest.raises(OperationalError, match="on fire"):
        call_command(Fails())
