"""Sends the tasks of the supply side by name, so that verbs need not import the tasks."""

from contextvars import ContextVar
from functools import partial
from typing import Final

import structlog
from celery import current_app
from django.db import transaction
from kombu.exceptions import KombuError
from redis import RedisError

from pods.states import (
    CREATING,
    DRAINING,
    REQUESTED,
    RESUMING,
    STOPPING,
    TERMINATING,
    PodState,
)

log = structlog.get_logger(__name__)

SPAWN: Final = "pods.spawn"
CHECK: Final = "pods.check"
TEARDOWN: Final = "pods.teardown"
RESUME: Final = "pods.resume"
RECONCILE: Final = "pods.reconcile_account"
SURVEY: Final = "pods.survey_account"
STEP_OF: Final = {
    REQUESTED: SPAWN,
    CREATING: SPAWN,
    DRAINING: TEARDOWN,
    STOPPING: TEARDOWN,
    TERMINATING: TEARDOWN,
    RESUMING: RESUME,
}
# A step that no worker took by then is stale: `pods.nudge` has sent another one.
STEP_EXPIRES_SECONDS: Final = 300
# The broker delivers a message again and again if it waits longer than the visibility timeout. So a
# step that is due later than this is not sent: `pods.nudge` finds it in the row and sends it.
LONGEST_COUNTDOWN_SECONDS: Final = 300


class Outbox:
    """Keeps the tasks that are sent within its block until the block ends. Each claim has its own.

    A verb sends the next step while it holds the pod's claim. If it were sent at once, the next step
    would find the pod claimed and do nothing.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[str, tuple[int, ...], float]] = []

    def __enter__(self) -> None:
        """Keep the tasks that are sent in this context from now on."""
        self._before = _open.set(self)

    def __exit__(self, *_: object) -> None:
        """Send the kept tasks, also if the block raised: rows may have changed before."""
        _open.reset(self._before)
        for task, args, countdown in self._waiting:
            send(task, *args, countdown=countdown)

    def add(self, task: str, args: tuple[int, ...], countdown: float) -> None:
        """Keep a task until the block ends."""
        self._waiting.append((task, args, countdown))


_open: ContextVar[Outbox | None] = ContextVar("outbox", default=None)


def send(task: str, *args: int, countdown: float = 0) -> None:
    """Send a task when the current transaction commits; `countdown` in seconds.

    A broker that does not answer, or refuses, is only logged: the rows say what is due, and it is sent
    again. An error here would stop a verb between its commit and what it does next.
    """
    outbox = _open.get()
    if outbox is not None:
        outbox.add(task, args, countdown)
        return
    if countdown > LONGEST_COUNTDOWN_SECONDS and task in STEP_OF.values():
        return
    transaction.on_commit(partial(_publish, task, args, countdown))


def _publish(task: str, args: tuple[int, ...], countdown: float) -> None:
    try:
        current_app.send_task(
            task, args=args, countdown=countdown or None, expires=countdown + STEP_EXPIRES_SECONDS
        )
    # Celery does not turn every error of its broker into its own.
    except (KombuError, RedisError, OSError) as exc:
        log.warning("task_not_sent", task=task, args=args, because=str(exc))


def next_step(pod_id: int, state: PodState, *, countdown: float = 0) -> None:
    """Send the task for the next step of a pod in this state; nothing if no step is due."""
    task = STEP_OF.get(state)
    if task is not None:
        send(task, pod_id, countdown=countdown)
