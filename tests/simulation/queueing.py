"""Beat and the task queue, which drops, delays, doubles and shuffles messages."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final
from unittest import mock

from celery import current_app
from django_celery_beat.models import PeriodicTask

from pods.base.clock import utcnow
from pods.emulators.base import Clock
from tests.simulation.draws import Draws
from tests.simulation.worker import Worker

LATE: Final = (0, 0, 0, 0, 1, 7, 40)  # seconds by which a message is delayed; one is drawn for each
ROUNDS: Final = 6  # how often tasks that other tasks sent run in the same step


@dataclass(slots=True, kw_only=True)
class _Message:
    due: datetime
    expires: datetime | None
    task: str
    args: tuple[Any, ...]


@dataclass(slots=True, kw_only=True)
class _Entry:
    task: str
    args: tuple[Any, ...]
    every: timedelta
    expires: float | None
    next_at: datetime


@dataclass(slots=True)
class Queue:
    """The messages that no worker has taken yet. It respects `expires`, as real workers do."""

    draws: Draws
    worker: Worker
    time: Clock  # the true one
    messages: list[_Message] = field(default_factory=list)

    @contextmanager
    def patched(self) -> Iterator[None]:
        """Within the block every message comes into this queue."""
        app: Any = current_app._get_current_object()  # type: ignore[attr-defined]
        app.loader.import_default_modules()  # as a worker does when it starts
        with mock.patch.object(app, "send_task", self.send):
            yield

    def send(
        self,
        name: str,
        args: Sequence[Any] | None = None,
        _kwargs: Any = None,
        countdown: float | None = None,
        expires: float | None = None,
        **_: Any,
    ) -> None:
        """Take a message of a task or of beat."""
        self.worker.call(f"before sending {name}")
        values = tuple(args or ())
        if self.draws.occurs(0.03, f"lost {name}{values}"):
            return
        late = self.draws.random.choice(LATE) if self.draws.faults_on else 0
        sent_at = utcnow()  # by the sender's clock, as Celery writes a countdown and an expiry
        begin = sent_at if countdown else self.time()
        message = _Message(
            due=begin + timedelta(seconds=(countdown or 0) + late),
            expires=None if expires is None else sent_at + timedelta(seconds=expires),
            task=name,
            args=values,
        )
        self.messages.append(message)
        if self.draws.occurs(0.02, f"twice {name}{values}"):
            self.messages.append(message)
        self.worker.call(f"after sending {name}")

    def deliver(self, taken: Callable[[str], None]) -> None:
        """Run the due messages in random order, then those that they sent; call `taken` for each."""
        for _ in range(ROUNDS):
            now = utcnow()
            due = [m for m in self.messages if m.due <= now]
            if not due:
                return
            self.messages = [m for m in self.messages if m.due > now]
            self.draws.random.shuffle(due)
            for message in due:
                if message.expires is None or utcnow() <= message.expires:
                    taken(message.task)
                    body = current_app.tasks[message.task].run
                    self.worker.run(f"{message.task}{message.args}", partial(body, *message.args))


# No day has batches of requests, and this runs each 5 s. Forecasts only read, and take seconds each. No
# fleet of a day has a role.
NOT_HERE: Final = ("fleet.advance_batches", "fleet.forecast", "fleet.shadow", "fleet.issue_keys")


class Beat:
    """Sends each periodic task of the database's schedule when it is due."""

    def __init__(self, queue: Queue) -> None:
        self._queue, self.silent_until = queue, utcnow()
        rows = PeriodicTask.objects.filter(enabled=True, interval__isnull=False)
        rows = rows.exclude(task__in=NOT_HERE)
        self._entries = [
            _Entry(
                task=row.task,
                args=tuple(json.loads(row.args)),
                every=row.interval.schedule.run_every,
                expires=row.expire_seconds,
                next_at=utcnow(),
            )
            for row in rows.select_related("interval").order_by("pk")
        ]

    def send_due(self, *, draws: Draws) -> None:
        """Send the due tasks; sometimes a second beat sends them too (F42)."""
        now = utcnow()
        if now < self.silent_until:
            return
        for entry in self._entries:
            if now < entry.next_at:
                continue
            entry.next_at = now + entry.every
            copies = 2 if draws.occurs(0.01, f"a second beat sends {entry.task}") else 1
            for _ in range(copies):
                self._queue.send(entry.task, entry.args, expires=entry.expires)
