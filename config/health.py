"""The pages that say whether this deployment is alive and ready."""

from datetime import timedelta
from typing import Final

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.models import OuterRef, Subquery
from django.db.utils import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from redis import RedisError

from fleet.decision.windows import undecided_since
from fleet.models import Fleet, Tick
from pods.base.redis import eviction_of, redis_client
from pods.base.shared_clock import shared_now

# Periods of a fleet, and the least time: a tick may wait behind others.
PERIODS: Final = 4
LEAST: Final = timedelta(seconds=60)


def alive(_request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


def ready(_request: HttpRequest) -> HttpResponse:
    """200 if database, migrations and Redis are there and every fleet is decided on, else 503.

    The answer names what is missing. A Redis that may delete keys by itself is not ready either.
    """
    missing: dict[str, str] = {}
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            missing["migrations"] = "run `python manage.py migrate`"
        elif undecided := _undecided():
            missing["decisions"] = (
                f"fleets without a recent one: {undecided}; look at beat, workers"
            )
    except DatabaseError as exc:
        missing["database"] = type(exc).__name__
    try:
        if wrong := eviction_of(redis_client(settings.REDIS_URL)):
            missing["redis"] = wrong
    except RedisError as exc:
        missing["redis"] = type(exc).__name__
    return JsonResponse({"ready": not missing, "missing": missing}, status=503 if missing else 200)


def _undecided() -> int:
    """How many fleets had no decision recently. A decision in the future proves nothing."""
    now, newest = shared_now(), Tick.objects.filter(fleet=OuterRef("pk")).order_by("-at")
    ticked = Fleet.objects.filter(schedule__enabled=True).select_related("schedule__interval")
    undecided = 0
    for fleet in ticked.annotate(last_at=Subquery(newest.values("at")[:1])):
        patience = max(PERIODS * fleet.tick_period, LEAST)
        since = undecided_since(
            created=fleet.created_at, restored=fleet.restored_at, decided=fleet.last_at
        )
        undecided += abs(now - since) > patience
    return undecided
