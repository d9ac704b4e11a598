"""The base class of our commands, with its check of the typed arguments."""

import sys
from collections.abc import Sequence
from itertools import takewhile
from typing import Any

from django.core.management.base import BaseCommand, CommandParser


class OwnCommand(BaseCommand):
    """A command that refuses `--name=--`.

    CPython 3.11 drops such a `--` and passes an empty list as the value, which no command expects.
    Later versions pass `--`, which is not a value of any of our options.
    """

    def create_parser(self, *args: Any, **kwargs: Any) -> CommandParser:
        """Django's parser; its sub-commands get parsers of the same class."""
        parser = super().create_parser(*args, **kwargs)
        parser.__class__ = _Parser  # Django offers no way to choose another class
        return parser


class _Parser(CommandParser):
    def parse_known_args(  # type: ignore[override]  # the overloads of typeshed say the same
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        words = sys.argv[1:] if args is None else args
        for word in takewhile(lambda word: word != "--", words):
            if word.startswith("--") and word.endswith("=--"):
                self.error(f"{word.removesuffix('=--')}: -- is not a value")
        return super().parse_known_args(args, namespace)
