"""The project's Celery app with all times divided by HURRY, and tasks that record what happens to them.

If a time is missing in the settings, this module does not start.
"""

import os
import time
from typing import Any

from billiard.exceptions import SoftTimeLimitExceeded
from celery import shared_task

from config import celery_app as app
from pods.base.redis import redis_client

HURRY = float(os.environ.get("HURRY", "1"))
STEP_SECONDS = 0.02

if HURRY > 1:
    app.conf.task_soft_time_limit = app.conf.task_soft_time_limit / HURRY
    app.conf.task_time_limit = app.conf.task_time_limit / HURRY
    transport = dict(app.conf.broker_transport_options)
    for name in ("visibility_timeout", "unacked_restore_interval"):
        transport[name] = transport[name] / HURRY
    app.conf.broker_transport_options = transport


def _redis() -> Any:
    return redis_client(os.environ["REDIS_URL"])


def _hold(name: str) -> None:
    while not _redis().exists(f"{name}:go"):
        time.sleep(STEP_SECONDS)


@shared_task(name="pods.held")
def held(name: str) -> None:
    """Record each run with its process; end when the test says so."""
    _redis().rpush(f"{name}:runs", os.getpid())
    _hold(name)
    _redis().incr(f"{name}:done")


@shared_task(name="pods.hangs")
def hangs(name: str) -> None:
    """Catch the soft time limit, and hang on."""
    _redis().incr(f"{name}:runs")
    while True:
        try:
            _hold(name)
        except SoftTimeLimitExceeded:
            _redis().incr(f"{name}:warned")


@shared_task(name="pods.tidy")
def tidy(name: str) -> None:
    """Take too long, and tidy up if there is time."""
    try:
        _hold(name)
    finally:
        _redis().set(f"{name}:tidied", 1)


def _count(name: str) -> None:
    _redis().incr(f"{name}:runs")


count_in_pods = shared_task(name="pods.count")(_count)
count_in_fleet = shared_task(name="fleet.count")(_count)

__all__ = ["app", "count_in_fleet", "count_in_pods", "hangs", "held", "tidy"]
