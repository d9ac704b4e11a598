"""The arguments of the verbs that move items."""

from argparse import ArgumentParser
from pathlib import Path


def add_source_arguments(parser: ArgumentParser) -> None:
    """Of `fleet enqueue`."""
    parser.add_argument(
        "files",
        metavar="FILE",
        nargs="+",
        type=Path,
        help=".txt: an item a line. .jsonl: an object a line, with `payload` or `text`, or else the "
        "whole object as payload; `id` and `reply_to` where they are given.",
    )
    parser.add_argument(
        "--again",
        action="store_true",
        help="Enqueue files once more that were enqueued before; goes on where that was interrupted.",
    )


def add_result_arguments(parser: ArgumentParser) -> None:
    """Of `fleet results`."""
    parser.add_argument(
        "--out",
        metavar="FILE.jsonl",
        type=Path,
        required=True,
        help="A result a line; a file of a former call is gone on with. Beside it FILE.jsonl.ids.",
    )
