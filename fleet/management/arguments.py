"""The arguments of the verbs that move items."""

import re
from argparse import Action, ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any


def add_source_arguments(parser: ArgumentParser) -> None:
    """Of `fleet enqueue`."""
    files = parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        type=Path,
        help=".txt: an item a line. .jsonl: an object a line, with `payload` or `text`, or else the "
        "whole object as payload; `id` and `reply_to` where they are given. .parquet: a row, with "
        "columns of these names.",
    )
    parser.add_argument(
        "--stdin",
        choices=["txt", "jsonl"],
        default="jsonl",
        help="What comes on standard input, where FILE is -; kept on disk until it is all on "
        "the stream. After a kill the same input goes on where it was.",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="Enqueue files once more that were enqueued before; goes on where that was interrupted.",
    )
    add_query_arguments(parser, files)
    add_feeding_arguments(parser)


def add_query_arguments(parser: ArgumentParser, files: Action) -> None:
    """Of `fleet enqueue`, to read from a database; `files` is then no longer required."""

    class Sql(Action):
        def __call__(
            self,
            parser: ArgumentParser,
            namespace: Namespace,
            values: Any,
            option_string: str | None = None,
        ) -> None:
            # From the start on this would keep `NAME --again FILE` from being understood.
            files.nargs = "*"
            setattr(namespace, self.dest, values)

    parser.add_argument(
        "--sql",
        action=Sql,
        metavar="QUERY",
        help="An item a row of this SELECT, with columns `payload` or `text`, or else the row as JSON; "
        "`id` and `reply_to` where they are there. Read in the order of its key, a page at a time.",
    )
    parser.add_argument(
        "--key",
        metavar="COLUMN",
        help="Of --sql: the column that is unique, never null, and best has an index (default: id). "
        "A later call goes on behind the greatest one that was enqueued.",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--database-url",
        metavar="URL",
        help="Of --sql: postgresql://user@host/name, or sqlite:////folder/file.sqlite3.",
    )
    where.add_argument(
        "--database-url-env",
        metavar="VARIABLE",
        help="Of --sql: the environment variable with that URL, so that no password is on the "
        "command line.",
    )


def add_feeding_arguments(parser: ArgumentParser) -> None:
    """Of `fleet enqueue`, for more items than the server's memory holds."""
    parser.add_argument(
        "--max-length",
        type=int,
        metavar="ENTRIES",
        help="Keep the stream at most so long: cut off what every group has acknowledged, and put "
        "more on it as it drains. What is not on it yet counts as backlog meanwhile.",
    )


def add_result_arguments(parser: ArgumentParser) -> None:
    """Of `fleet results`."""
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--out",
        metavar="FILE.jsonl|DIR.parquet",
        type=Path,
        help="A result a line, or a folder of Parquet files; what a former call wrote is gone on "
        "with. Beside it its ids, in FILE.jsonl.ids.",
    )
    target.add_argument(
        "--post",
        metavar="URL",
        help="POST results there as lines of JSON, at least once; goes on where a former call ended.",
    )
    parser.add_argument(
        "--token-env",
        metavar="VARIABLE",
        default="",
        help="Of --post: the environment variable with the bearer token.",
    )
    parser.add_argument(
        "--follow", action="store_true", help="Of --post: wait for new results until Ctrl-C."
    )


def add_dead_arguments(parser: ArgumentParser) -> None:
    """Of `fleet dead`."""
    parser.add_argument("action", choices=["list", "retry", "drop"])
    parser.add_argument("name", metavar="NAME")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--id",
        dest="letters",
        metavar="LETTER",
        action="append",
        type=_entry_id,
        help="Of retry and drop: a letter as `list` shows it, 1795473132695-0; may be repeated.",
    )
    which.add_argument("--all", action="store_true", help="Of retry and drop: all there are now.")
    parser.add_argument(
        "--limit", type=int, default=20, metavar="N", help="Of list: so many at most, oldest first."
    )


def _entry_id(text: str) -> str:
    if not re.fullmatch(r"\d{1,20}-\d{1,20}", text):
        raise ArgumentTypeError(
            f"{text!r} is no letter; `fleet dead list` shows them, as 1795473-0"
        )
    return text
