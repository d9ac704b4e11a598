"""Feeds a stream with files or with the rows of a query, as `fleet enqueue` does.

`enqueue REDIS_URL STREAM GROUP FILE …`, or `--sql SQL --database URL` instead of files. With
`--tell-peak` it prints its largest memory in bytes on the standard error, and deletes the stream.
"""

import argparse
import sys
from pathlib import Path

from fleet.items import feeding
from fleet.items.queries import ItemQuery
from pods.base.redis import redis_client
from tests.support.memory import peak_bytes


def main() -> None:
    """Feed the stream once."""
    parser = argparse.ArgumentParser()
    parser.add_argument("redis_url")
    parser.add_argument("stream")
    parser.add_argument("group")
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--sql")
    parser.add_argument("--database")
    parser.add_argument("--max-length", type=int)
    parser.add_argument("--tell-peak", action="store_true")
    asked = parser.parse_args()
    client = redis_client(asked.redis_url)
    sources = asked.files or [ItemQuery(asked.sql, url=asked.database)]
    feeding.enqueue(client, asked.stream, asked.group, sources, max_length=asked.max_length)
    if asked.tell_peak:
        sys.stderr.write(str(peak_bytes()))
        client.delete(asked.stream)


if __name__ == "__main__":
    main()
