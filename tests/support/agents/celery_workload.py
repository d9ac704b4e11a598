"""A user's Celery app, without any import from Podfleet."""

import os
import socket
import time

import redis
from celery import Celery

app = Celery("workload", broker=os.environ["WORKLOAD_BROKER"])
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=2, task_acks_late=True)
app.conf.broker_connection_retry_on_startup = True


@app.task(name="work")
def work(number: int, seconds: float = 0.0) -> None:
    client = redis.Redis.from_url(os.environ["WORKLOAD_REDIS"], protocol=2)
    client.sadd("begun", number)
    client.hincrby("tokens", os.environ.get("HF_TOKEN", "none"))
    time.sleep(seconds)
    client.rpush("finished", number)


@app.task(name="meet")
def meet(number: int, count: int) -> None:
    """Wait until `count` of these tasks run at the same time, in one process."""
    client = redis.Redis.from_url(os.environ["WORKLOAD_REDIS"], protocol=2)
    client.sadd("met", number)
    while client.scard("met") < count:
        time.sleep(0.01)
    client.sadd("sockets", f"{socket.socket.__module__} {os.getpid()}")
    client.rpush("finished", number)
