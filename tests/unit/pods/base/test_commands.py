"""Every command refuses `--name=--` with our message, on every version of Python."""

import pytest
from django.core.management import (
    CommandError,
    call_command,
    execute_from_command_line,
    get_commands,
)

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
