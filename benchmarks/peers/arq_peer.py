"""arq: `arq_peer.py fill COUNT`, or `work`; results stored."""

import asyncio
import os
import sys
from typing import Any

from arq import create_pool, run_worker
from arq.connections import RedisSettings

SETTINGS = RedisSettings.from_dsn(os.environ["REDIS_URL"])


async def noop(_context: Any, _payload: str) -> int:
    """Do nothing."""
    return 1


async def fill(count: int) -> None:
    """Enqueue `count` jobs, many at once."""
    pool = await create_pool(SETTINGS)
    for start in range(0, count, 500):
        await asyncio.gather(
            *(pool.enqueue_job("noop", f"item {n}") for n in range(start, min(start + 500, count)))
        )


class Worker:
    """A worker that runs many jobs at once and polls as often as it can."""

    functions = (noop,)
    redis_settings = SETTINGS
    max_jobs = 64
    poll_delay = 0.01


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        asyncio.run(fill(int(sys.argv[2])))
    else:
        run_worker(Worker)
