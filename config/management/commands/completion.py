"""`podfleet completion`: the completion of our commands for a shell."""

from argparse import ArgumentParser
from typing import Any, Final

import shtab
from django.core.management import get_commands, load_command_class

from config.cli import COMMANDS
from pods.base.commands import OwnCommand

SHELLS: Final = ("bash", "zsh", "fish")
PROGRAM: Final = "podfleet"


class Command(OwnCommand):
    """Prints a script. A shell that has read it completes commands, subcommands and options."""

    help = 'Print the completion for a shell: eval "$(podfleet completion bash)".'

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which shell."""
        parser.add_argument("shell", choices=SHELLS)

    def handle(self, *args: Any, **options: Any) -> None:
        """Print it."""
        self.stdout.write(shtab.complete(whole_parser(), options["shell"]))


def whole_parser() -> ArgumentParser:
    """One parser of the commands in the help, each with its subcommands and options."""
    whole = ArgumentParser(prog=PROGRAM)
    whole.add_argument("--version", action="store_true", help="Print the version.")
    commands = whole.add_subparsers(metavar="COMMAND")
    apps = get_commands()
    for name, text in COMMANDS.items():
        own = load_command_class(apps[name], name).create_parser(PROGRAM, name)
        commands.add_parser(
            name, help=text, parents=[own], add_help=False, conflict_handler="resolve"
        )
    return whole
