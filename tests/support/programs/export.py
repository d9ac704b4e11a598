"""Writes a stream of results to a file, or to a folder of Parquet files.

`export REDIS_URL STREAM OUT [--part-rows N] [--hold]`; with `--hold` it waits at its first progress
for a line on the standard input.
"""

import argparse
from pathlib import Path

from fleet.results import parquet
from fleet.results.export import export
from pods.base.redis import redis_client


def main() -> None:
    """Export once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("redis_url")
    parser.add_argument("stream")
    parser.add_argument("out", type=Path)
    parser.add_argument("--part-rows", type=int, default=parquet.Parts.rows)
    parser.add_argument("--hold", action="store_true")
    asked = parser.parse_args()
    parquet.Parts.rows = asked.part_rows
    client = redis_client(asked.redis_url)
    if asked.hold:
        export(client, asked.stream, asked.out, progress=lambda _: wait())
    else:
        export(client, asked.stream, asked.out)


def wait() -> None:
    """Wait for a line."""
    input()


if __name__ == "__main__":
    main()
