"""A Celery app whose tasks wait until the test ends them, one by one."""

import os

import redis
from celery import Celery

REDIS = os.environ["HELD_REDIS"]
app = Celery("held", broker=os.environ["HELD_BROKER"])
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=4,
    worker_enable_remote_control=False,
    broker_connection_retry_on_startup=True,
    task_queue_max_priority=10,
)
if app.conf.broker_url.startswith("redis"):
    app.conf.broker_transport_options = {"queue_order_strategy": "priority"}


@app.task(name="hold")
def hold() -> None:
    """Wait until the test ends one task."""
    redis.Redis.from_url(REDIS, protocol=2, socket_timeout=None).blpop(["let go"])
