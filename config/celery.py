"""The Celery app."""

import os
import sys
from pathlib import Path
from typing import Any, Final

import structlog
from celery import Celery
from celery.fixups.django import DjangoFixup, fixup
from celery.result import AsyncResult
from celery.signals import before_task_publish, setup_logging
from kombu.exceptions import OperationalError
from kombu.utils.uuid import uuid

from config import traces
from config.task_ages import stamp

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

log = structlog.get_logger(__name__)
# A worker that was away drops this many expired messages within seconds.
LONGEST_QUEUE: Final = 2000
ROOT: Final = str(Path(__file__).resolve().parent.parent)


class App(Celery):
    """Drops tasks that may expire if their queue is full, because a broker's memory is limited."""

    def send_task(  # type: ignore[override]  # the other arguments are passed on unchanged
        self, name: str, args: Any = None, kwargs: Any = None, **options: Any
    ) -> "AsyncResult[Any]":
        """Send a task by name, unless it may expire and its queue is full.

        Raises:
            OperationalError: the broker does not answer.
        """
        if options.get("expires") is not None and self._is_crowded(name, options.get("queue")):
            log.warning("queue_is_full", task=name, longest=LONGEST_QUEUE)
            return self.AsyncResult(uuid())
        return super().send_task(name, args, kwargs, **options)

    def _is_crowded(self, name: str, queue: Any) -> bool:
        queue = queue or self.amqp.router.route({}, name)["queue"]
        with self.connection_or_acquire() as connection:
            try:
                client = connection.default_channel.client
                return bool(client.llen(getattr(queue, "name", queue)) >= LONGEST_QUEUE)
            except (*connection.connection_errors, *connection.channel_errors) as exc:
                raise OperationalError(str(exc)) from exc


@before_task_publish.connect
def stamp_the_time(headers: dict[str, Any], **_kwargs: object) -> None:
    """Write into each task when it was sent, for the age of the oldest one that waits."""
    stamp(headers)


def for_django(app: Celery) -> DjangoFixup | None:
    """Celery's support of Django, with this project's folder on the path and not the current one.

    Celery puts the current folder first, so a `redis.py` of the user would be imported in place of
    the library. The script `celery` has the current folder on its path only while it imports this
    module, and then removes its first entry of it: so ours is added even if it is there.
    """
    before = list(sys.path)
    done = fixup(app)
    sys.path[:] = [ROOT, *before]
    return done


app = App("podfleet", fixups=["config.celery:for_django"])
app.config_from_object("config.settings:CELERY")
app.autodiscover_tasks()
traces.connect()


@setup_logging.connect
def keep_our_logging(**_kwargs: object) -> None:
    """Keep Celery from replacing Django's logging; a receiver of this signal is enough for that."""
