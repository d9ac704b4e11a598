"""Every command refuses `--name=--` with our message, on every version of Python."""

import logging

import pytest
from django.core.management import (
    CommandError,
    call_command,
    execute_from_command_line,
    get_commands,
)

from pods.base.commands import OwnCommand

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


def test_the_usage_after_an_unknown_option_has_the_options_of_the_subcommand(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended:
        execute_from_command_line(
            ["manage.py", "fleet", "watch", "emb", "--second", "1", "--bogus"]
        )
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert "[--until-empty]" in said
    assert "unrecognized arguments: --bogus" in said


class Quiet(OwnCommand):
    """A command that does nothing."""

    requires_system_checks = ()

    def handle(self, *args: object, **options: object) -> None:
        """Do nothing."""


def test_a_command_logs_no_line_about_each_try(monkeypatch: pytest.MonkeyPatch) -> None:
    retries = logging.getLogger("stamina")
    monkeypatch.setattr(retries, "level", logging.WARNING)
    call_command(Quiet())
    assert retries.level == logging.ERROR
