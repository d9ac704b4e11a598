"""Measures a Celery queue on RabbitMQ, through the management API."""

from base64 import b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, TypeGuard
from urllib.parse import quote

from fleet.backlog.base import BacklogUnknown, Depth
from pods.providers.errors import ProviderError
from pods.providers.http import Answer, Timeouts, VendorHttp

# States in which the numbers are kept up to date (management API, queue fields, RabbitMQ 3.10-4.x).
COUNTING: Final = frozenset({"running", "idle", "flow", "syncing"})
TIMEOUTS: Final = Timeouts(connect=3.0, read=5.0, total=10.0)
# The plug-in gathers numbers every 5 s by default (collect_statistics_interval).
CLOCK_STEP: Final = timedelta(minutes=1)


class CeleryRabbitProbe:
    """Measures one Celery queue whose broker is RabbitMQ."""

    def __init__(self, base_url: str, *, user: str, password: str, vhost: str, queue: str) -> None:
        """`base_url`: the address of the management plug-in, without `/api`."""
        secret = b64encode(f"{user}:{password}".encode()).decode()
        self._http = VendorHttp(base_url=base_url, secret=secret, auth=_basic, timeouts=TIMEOUTS)
        self._vhost, self._queue = vhost, queue

    def __repr__(self) -> str:
        return f"CeleryRabbitProbe({self._http.base_url!r}, vhost={self._vhost!r})"

    def measure(self) -> Depth:
        """Return the ready and the unacknowledged messages, in one call; they may be some seconds old.

        The age is known only if publishers set the property `timestamp`; Celery itself does not.

        Raises:
            BacklogUnknown: the server does not answer, the queue is missing, or its numbers are not
                kept up to date at the moment.
        """
        path = f"/api/queues/{quote(self._vhost, safe='')}/{quote(self._queue, safe='')}"
        try:
            answer = self._http.call("GET", path)
        except ProviderError as exc:
            raise BacklogUnknown(f"RabbitMQ does not answer: {exc}") from exc
        seen = self._queue_of(answer)
        ready, held = seen.get("messages_ready"), seen.get("messages_unacknowledged")
        if not _is_count(ready) or not _is_count(held):
            raise BacklogUnknown(
                f"RabbitMQ has not counted the queue {self._queue} yet; it counts every 5 s, unless "
                "management_agent.disable_metrics_collector is on"
            )
        return Depth(
            waiting=ready,
            pending=held,
            oldest_age=_age(seen, answer) if ready else None,
        )

    def _queue_of(self, answer: Answer) -> Mapping[str, Any]:
        """Return the queue from the answer.

        Raises:
            BacklogUnknown: the answer cannot be trusted; the message says what would be right.
        """
        where = f"the queue {self._queue} in the virtual host {self._vhost}"
        if answer.status == 404:
            raise BacklogUnknown(
                f"RabbitMQ does not have {where}; a worker or the first task declares it"
            )
        if answer.status in {401, 403}:
            raise BacklogUnknown(
                f"RabbitMQ refuses this user {where} ({answer.status}); it needs the tag "
                "`management` and permission to read there"
            )
        if not answer.ok or not isinstance(answer.body, Mapping) or "name" not in answer.body:
            raise BacklogUnknown(
                f"{self._http.base_url} is not RabbitMQ's management API "
                f"(it answered {answer.status}); enable rabbitmq_management and name its port"
            )
        state = answer.body.get("state", "running")
        if state not in COUNTING:
            raise BacklogUnknown(f"{where} is {state}; its numbers are old")
        seen: Mapping[str, Any] = answer.body
        return seen


def _basic(secret: str) -> Mapping[str, str]:
    return {"Authorization": f"Basic {secret}"}


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _age(seen: Mapping[str, Any], answer: Answer) -> timedelta | None:
    """How long ago the message at the queue's head was published, by the broker's clock."""
    published, now = seen.get("head_message_timestamp"), answer.headers.get("date")
    if not _is_count(published) or not published or now is None:
        return None
    try:
        age = parsedate_to_datetime(now) - datetime.fromtimestamp(published, UTC)
    except (ValueError, OverflowError, OSError):
        return None
    return max(age, timedelta(0)) if age > -CLOCK_STEP else None
