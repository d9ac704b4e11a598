"""The pages that say whether this deployment is alive and ready."""

from datetime import datetime, timedelta
from typing import Final

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import Max, OuterRef, Subquery
from django.db.utils import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from django_celery_beat.models import PeriodicTask
from redis import RedisError

from fleet.decision.windows import TICKS_MISSED, undecided_since
from fleet.models import Fleet, Tick
from pods.base.command_name import how_to_run
from pods.base.redis import eviction_of, redis_client
from pods.base.shared_clock import shared_now

# A tick may wait behind others, so a period of a second does not make three seconds too long.
LEAST: Final = timedelta(seconds=60)
# Clocks of hosts may differ by so much.
SKEW: Final = timedelta(seconds=30)


def alive(_request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


def ready(_request: HttpRequest) -> HttpResponse:
    """200 if database, migrations, Redis and beat are there and every fleet is decided on, else 503.

    The answer names what is missing. A Redis that may delete keys by itself is not ready either.
    """
    missing: dict[str, str] = {}
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            missing["migrations"] = f"run `{how_to_run('migrate', python=True)}`"
        else:
            _look_at_times(shared_now(), missing)
    except DatabaseError as exc:
        missing["database"] = type(exc).__name__
    try:
        if wrong := eviction_of(redis_client(settings.REDIS_URL)):
            missing["redis"] = wrong
    except RedisError as exc:
        missing["redis"] = type(exc).__name__
    return JsonResponse({"ready": not missing, "missing": missing}, status=503 if missing else 200)


def _look_at_times(now: datetime, missing: dict[str, str]) -> None:
    if undecided := undecided_fleets(now):
        missing["decisions"] = f"fleets without a recent one: {undecided}; look at beat, workers"
    # Of those that beat sends often. A daily one keeps its time for a day after the clocks were set.
    often = PeriodicTask.objects.filter(
        enabled=True, interval__period="seconds", interval__every__lte=LEAST.total_seconds()
    )
    last = often.aggregate(at=Max("last_run_at"))["at"]
    if last is not None and last > now + SKEW:
        ahead = int((last - now).total_seconds())
        missing["beat"] = f"it sent a task {ahead} s in the future; set the clocks of the hosts"


def undecided_fleets(now: datetime) -> int:
    """How many fleets had no decision for three periods. A decision in the future proves nothing."""
    newest = Tick.objects.filter(fleet=OuterRef("pk")).order_by("-at")
    ticked = Fleet.objects.filter(schedule__enabled=True).select_related("schedule__interval")
    undecided = 0
    for fleet in ticked.annotate(last_at=Subquery(newest.values("at")[:1])):
        patience = max(TICKS_MISSED * fleet.tick_period, LEAST)
        since = undecided_since(
            created=fleet.created_at, restored=fleet.restored_at, decided=fleet.last_at
        )
        undecided += abs(now - since) > patience
    return undecided
