"""taskiq on a Redis stream: `taskiq_peer.py fill COUNT`, or `work`; results stored."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path

from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

URL = os.environ["REDIS_URL"]
broker = RedisStreamBroker(URL, queue_name="bench-taskiq", xread_count=64).with_result_backend(
    RedisAsyncResultBackend(URL, prefix_str="bench-taskiq-result")
)


@broker.task(task_name="noop")
async def noop(_payload: str) -> int:
    """Do nothing."""
    return 1


async def fill(count: int) -> None:
    """Send `count` tasks, many at once."""
    await broker.startup()
    for start in range(0, count, 500):
        await asyncio.gather(
            *(noop.kiq(f"item {n}") for n in range(start, min(start + 500, count)))
        )
    await broker.shutdown()


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        asyncio.run(fill(int(sys.argv[2])))
    else:
        command = [sys.executable, "-m", "taskiq", "worker", "taskiq_peer:broker", "-w", "1"]
        command += ["--max-async-tasks", "64", "--log-level", "ERROR"]
        sys.exit(subprocess.call(command, cwd=Path(__file__).parent))
