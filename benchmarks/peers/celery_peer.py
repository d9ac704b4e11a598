"""Celery: `celery_peer.py fill COUNT`, or `work prefork|threads`; results stored in Redis."""

import os
import sys

from celery import Celery

URL = os.environ["REDIS_URL"]
app = Celery("peer", broker=URL, backend=URL)
app.conf.update(
    task_default_queue="bench-celery",
    worker_prefetch_multiplier=64,
    task_acks_late=True,
    worker_send_task_events=False,
    broker_connection_retry_on_startup=True,
    result_expires=3600,
)


@app.task(name="noop")
def noop(_payload: str) -> int:
    """Do nothing."""
    return 1


if __name__ == "__main__":
    if sys.argv[1] == "fill":
        with app.producer_pool.acquire() as producer:
            for n in range(int(sys.argv[2])):
                noop.apply_async((f"item {n}",), producer=producer)
    else:
        pool = sys.argv[2]
        size = "1" if pool == "prefork" else "8"
        app.worker_main(
            [
                "worker",
                "-P",
                pool,
                "-c",
                size,
                "-l",
                "ERROR",
                "--without-gossip",
                "--without-mingle",
            ]
        )
