"""The arguments of the verbs that move items."""

from argparse import ArgumentParser
from pathlib import Path


def add_source_arguments(parser: ArgumentParser) -> None:
    """Of `fleet enqueue`."""
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help=".txt or .jsonl")
    parser.add_argument(
        "--again", action="store_true", help="Enqueue files once more that were enqueued before."
    )


def add_result_arguments(parser: ArgumentParser) -> None:
    """Of `fleet results`."""
    parser.add_argument("--out", metavar="FILE.jsonl", type=Path, required=True)
