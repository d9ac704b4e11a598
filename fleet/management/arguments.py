"""The arguments of the subcommands that move items."""

import re
from argparse import Action, ArgumentParser, ArgumentTypeError, Namespace
from pathlib import Path
from typing import Any


def add_source_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `fleet enqueue`."""
    files = parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        type=Path,
        help=".txt: each line is an item. .jsonl: each line is an object; its `payload`, else its "
        "`text`, else the whole object is the payload; it may have `id` and `reply_to`. .parquet: "
        "each row is an item, with columns of these names.",
    )
    parser.add_argument(
        "--stdin",
        choices=["txt", "jsonl"],
        default="jsonl",
        help="The format of standard input, if FILE is - (default: jsonl). The input is kept on disk "
        "until all of it is on the stream. After a kill, the same input continues where it was.",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="Enqueue finished files or a finished query once more; continue if that was "
        "interrupted.",
    )
    parser.add_argument(
        "--skip-bad",
        action="store_true",
        help="Leave lines and rows that are not items out, and say how many there were.",
    )
    add_query_arguments(parser, files)
    add_feeding_arguments(parser)


def add_query_arguments(parser: ArgumentParser, files: Action) -> None:
    """Add the arguments of `fleet enqueue` that read from a database; `files` is then optional."""

    class Sql(Action):
        def __call__(
            self,
            parser: ArgumentParser,
            namespace: Namespace,
            values: Any,
            option_string: str | None = None,
        ) -> None:
            # If `files` were optional from the start, argparse would not accept `NAME --again FILE`.
            files.nargs = "*"
            setattr(namespace, self.dest, values)

    parser.add_argument(
        "--sql",
        action=Sql,
        metavar="QUERY",
        help="Each row of this SELECT is an item. The column `payload`, else `text`, else the row as "
        "JSON is the payload; it may have `id` and `reply_to`. Read in pages, in the order of the key.",
    )
    parser.add_argument(
        "--key",
        metavar="COLUMN",
        help="With --sql: a column that is unique and never null, and best has an index (default: id). "
        "A later call continues after the greatest key that was enqueued.",
    )
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--database-url",
        metavar="URL",
        help="With --sql: postgresql://user@host/name, or sqlite:////folder/file.sqlite3.",
    )
    where.add_argument(
        "--database-url-env",
        metavar="VARIABLE",
        help="With --sql: the environment variable that holds the URL, so that no password is on the "
        "command line.",
    )


def add_feeding_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `fleet enqueue` for more items than fit into the server's memory."""
    parser.add_argument(
        "--max-length",
        type=int,
        metavar="ENTRIES",
        help="Keep the stream at most this long: cut off entries that every group has acknowledged, "
        "and add items as it drains. Items that are not on it yet count as backlog.",
    )


def _results_path(text: str) -> Path:
    """Where results go. The end of the name says in which form they are written."""
    path = Path(text)
    if path.suffix not in {".jsonl", ".parquet"}:
        raise ArgumentTypeError(
            f"{text}: use FILE.jsonl (a line for each result) or DIR.parquet (a folder of files)"
        )
    return path


def add_result_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `fleet results`."""
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument(
        "--out",
        metavar="FILE.jsonl|DIR.parquet",
        type=_results_path,
        help="Write each result as a line of a file, or write Parquet files into a folder; continue "
        "what a former call wrote. The ids of written items are kept in FILE.jsonl.ids or "
        "DIR.parquet.ids.",
    )
    target.add_argument(
        "--post",
        metavar="URL",
        help="POST results there as lines of JSON, at least once each; continue where a former call "
        "ended.",
    )
    parser.add_argument(
        "--token-env",
        metavar="VARIABLE",
        default="",
        help="With --post: the environment variable that holds the bearer token.",
    )
    parser.add_argument(
        "--follow", action="store_true", help="With --post: wait for new results until Ctrl-C."
    )


def add_dead_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `fleet dead`."""
    parser.add_argument("action", choices=["list", "retry", "drop"])
    parser.add_argument("name", metavar="NAME")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--id",
        dest="letters",
        metavar="LETTER",
        action="append",
        type=_entry_id,
        help="With retry and drop: a letter as `list` shows it (1795473132695-0); may be repeated.",
    )
    which.add_argument(
        "--all", action="store_true", help="With retry and drop: all letters that exist now."
    )
    parser.add_argument(
        "--limit",
        type=int,
        default=20,
        metavar="N",
        help="With list: at most this many letters, oldest first (default: 20).",
    )


def add_watch_arguments(parser: ArgumentParser) -> None:
    """Add the arguments of `fleet watch`."""
    parser.add_argument(
        "--seconds", type=float, default=1.0, help="Seconds between two readings (default: 1)."
    )
    parser.add_argument(
        "--until-empty",
        action="store_true",
        help="End when the backlog is empty and no pod is left.",
    )


def add_archive_arguments(
    archive: ArgumentParser, restore: ArgumentParser, delete: ArgumentParser
) -> None:
    """Add the arguments of `fleet archive`, `fleet restore` and `fleet delete`."""
    archive.add_argument(
        "--when-empty",
        action="store_true",
        help="If it has pods: pause it, and archive it when the last pod has ended.",
    )
    for parser in (archive, restore):
        parser.add_argument(
            "--as",
            dest="new_name",
            metavar="NEW-NAME",
            help="Also give it this name; with archive, its present name is then free.",
        )
    delete.add_argument("--yes", action="store_true", help="Really delete it.")


def _entry_id(text: str) -> str:
    if not re.fullmatch(r"\d{1,20}-\d{1,20}", text):
        raise ArgumentTypeError(
            f"{text!r} is not a letter; `fleet dead list` shows them, such as 1795473-0"
        )
    return text
