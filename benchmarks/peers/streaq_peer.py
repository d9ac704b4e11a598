"""streaq on a Redis stream: `streaq_peer.py fill COUNT`, or `work`; results stored."""

import os
import sys

import anyio
from streaq import Worker

worker = Worker(redis_url=os.environ["REDIS_URL"], queue_name="bench", concurrency=64)


@worker.task(name="noop")
async def noop(_payload: str) -> int:
    """Do nothing."""
    return 1


async def fill(count: int) -> None:
    """Enqueue `count` tasks, many in one round trip."""
    async with worker:
        for start in range(0, count, 500):
            tasks = [noop.enqueue(f"item {n}") for n in range(start, min(start + 500, count))]
            await worker.enqueue_many(tasks)


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        anyio.run(fill, int(sys.argv[2]))
    else:
        worker.run_sync()
