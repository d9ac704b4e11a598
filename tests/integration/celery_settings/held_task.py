"""The project's own Celery app, with one more task: it says who runs it, and holds until told."""

import os
import time

from celery import shared_task

from config import celery_app as app
from pods.connections import redis_client


@shared_task(name="pods.held")
def held() -> None:
    """Each run is noted with the process that runs it."""
    client = redis_client(os.environ["REDIS_URL"])
    client.rpush("held:runs", os.getpid())
    while not client.exists("held:go"):
        time.sleep(0.05)  # a worker waits here to be killed
    client.incr("held:done")


__all__ = ["app", "held"]
