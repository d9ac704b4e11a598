"""A consumer as fast as a fleet of many pods: it takes and acknowledges, and keeps nothing.

`python -m benchmarks.programs.drain REDIS_URL STREAM ITEMS LENGTH`. It begins once the stream has
that length, so that the feeder has to wait, and ends after so many items.
"""

import sys
import time
from typing import Any

import redis


def main(url: str, stream: str, items: str, length: str) -> None:
    """Drain it, as a member of the group that is named as the stream is."""
    client: Any = redis.Redis.from_url(url, protocol=2)
    seen = 0
    while client.xlen(stream) < int(length):
        time.sleep(0.01)
    while seen < int(items):
        found = client.xreadgroup(stream, "c", {stream: ">"}, count=1000, block=1000)
        if found:
            ids = [entry for entry, _ in found[0][1]]
            seen += client.xack(stream, stream, *ids)


if __name__ == "__main__":
    main(*sys.argv[1:])
