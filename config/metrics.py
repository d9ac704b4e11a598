"""The page that Prometheus reads: the fleets, Celery's queues and beat."""

from collections.abc import Iterable, Iterator
from typing import Final

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils.crypto import constant_time_compare
from django.views.decorators.http import require_GET
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector
from redis import RedisError

from config.task_ages import age_of
from fleet.pages import metrics as fleets
from fleet.pages.last_runs import beat_last_sent
from pods.base.redis import redis_client

SCHEME: Final = "Bearer "
UNACKED: Final = "unacked"  # Celery's key for tasks that workers took


class _Now(Collector):
    """Asks for each number at the moment of the scrape."""

    def collect(self) -> Iterable[Metric]:
        """All metrics of this moment."""
        yield from fleets.collect()
        yield from _queues()
        yield _beat()


@require_GET
def metrics(request: HttpRequest) -> HttpResponse:
    """The metrics as text, for who sends the token; it can be read while Redis is away."""
    if not settings.METRICS_TOKEN:
        return _refused(403, "set PODFLEET_METRICS_TOKEN, and send it as a bearer token")
    sent = request.headers.get("Authorization", "")
    if not sent.startswith(SCHEME) or not constant_time_compare(
        sent.removeprefix(SCHEME).strip(), settings.METRICS_TOKEN
    ):
        return _refused(401, "send the header: Authorization: Bearer TOKEN")
    return HttpResponse(generate_latest(_Now()), content_type=CONTENT_TYPE_LATEST)


def _refused(status: int, text: str) -> HttpResponse:
    answer = HttpResponse(f"{text}\n", status=status, content_type="text/plain")
    if status == 401:
        answer["WWW-Authenticate"] = 'Bearer realm="metrics"'
    return answer


def _queues() -> Iterator[Metric]:
    """How many tasks wait in each queue of the manager; left out where Redis does not answer."""
    up = GaugeMetricFamily("podfleet_redis_up", "1 if the manager's Redis answers.")
    waiting = GaugeMetricFamily(
        "podfleet_queue_tasks", "Tasks that wait for a worker.", labels=["queue"]
    )
    oldest = GaugeMetricFamily(
        "podfleet_queue_oldest_task_seconds",
        "For how long the oldest of these has waited; 0 if none waits.",
        labels=["queue"],
    )
    taken = GaugeMetricFamily(
        "podfleet_taken_tasks", "Tasks that workers took and have not finished."
    )
    names = [queue.name for queue in settings.CELERY_TASK_QUEUES]
    try:
        with redis_client(settings.REDIS_URL).pipeline(transaction=False) as pipe:
            for name in names:
                pipe.llen(name)
                pipe.lindex(name, -1)  # workers take from this end
            pipe.hlen(UNACKED)
            *answers, in_hand = pipe.execute()
    except RedisError:
        up.add_metric([], 0)
    else:
        up.add_metric([], 1)
        taken.add_metric([], in_hand)
        for name, length, message in zip(names, answers[::2], answers[1::2], strict=True):
            waiting.add_metric([name], length)
            if (age := age_of(message)) is not None:
                oldest.add_metric([name], age)
    yield up
    yield waiting
    yield oldest
    yield taken


def _beat() -> Metric:
    """When beat last sent a task; left out before it has sent one."""
    found = GaugeMetricFamily(
        "podfleet_beat_last_sent_timestamp_seconds", "When beat last sent a periodic task."
    )
    last = beat_last_sent()
    if last is not None:
        found.add_metric([], last.timestamp())
    return found
