"""dramatiq: `dramatiq_peer.py fill COUNT`, or `work`; results stored."""

import os
import subprocess
import sys
from pathlib import Path

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

URL = os.environ["REDIS_URL"]
broker = RedisBroker(url=URL)
broker.add_middleware(Results(backend=RedisBackend(url=URL)))
dramatiq.set_broker(broker)


@dramatiq.actor(queue_name="bench", store_results=True)
def noop(_payload: str) -> int:
    """Do nothing."""
    return 1


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        for n in range(int(sys.argv[2])):
            noop.send(f"item {n}")
    else:
        command = [sys.executable, "-m", "dramatiq", "-p", "1", "-t", "8", "dramatiq_peer"]
        sys.exit(subprocess.call(command, cwd=Path(__file__).parent))
