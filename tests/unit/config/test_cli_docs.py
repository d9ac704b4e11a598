"""The pages of the commands are complete: they have each command, subcommand and option."""

import argparse
import re
from collections.abc import Iterator

import pytest
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

from config.env import ROOT
from fleet.operating import EDITABLE

PAGES = ("cli.md", "cli-installation.md")
PAGE = "".join((ROOT / "docs" / "reference" / page).read_text() for page in PAGES)
OURS = ("config", "fleet", "pods")
COMMANDS = sorted((app, name) for name, app in get_commands().items() if app in OURS)
# The options of every Django command.
SHARED = {
    word
    for action in BaseCommand().create_parser("manage.py", "x")._actions
    for word in action.option_strings
}


def words(parser: argparse.ArgumentParser) -> Iterator[str]:
    """The subcommands (rows of a table) and options of a command, as the page names them."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, sub in action.choices.items():
                yield rf"^\| `{name}[` ]"
                yield from words(sub)
        if action.help != argparse.SUPPRESS:  # it exists to be refused
            yield from (rf"[` ]{w}[`\s]" for w in action.option_strings if w not in SHARED)


@pytest.mark.parametrize(("app", "name"), COMMANDS)
def test_each_command_subcommand_and_option_is_on_the_page(app: str, name: str) -> None:
    parser = load_command_class(app, name).create_parser("manage.py", name)
    missing = [w for w in words(parser) if not re.search(w, PAGE, re.MULTILINE)]
    assert missing == []
    assert f"manage.py {name}" in PAGE


def test_each_option_of_a_field_is_in_the_list_of_create_and_set() -> None:
    listed = {*PAGE.partition("    --mode ")[2].partition("\n\n")[0].split(), "--mode"}
    assert listed == {f"--{name.replace('_', '-')}" for name in EDITABLE}
