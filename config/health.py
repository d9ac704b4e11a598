"""The pages that say whether this deployment is alive and ready."""

from django.conf import settings
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.db.utils import Error as DatabaseError
from django.http import HttpRequest, HttpResponse, JsonResponse
from redis import RedisError

from pods.base.redis import redis_client


def alive(_request: HttpRequest) -> HttpResponse:
    """200 as long as the process answers."""
    return HttpResponse("ok\n", content_type="text/plain")


def ready(_request: HttpRequest) -> HttpResponse:
    """200 if the database, its migrations and Redis are available, else 503 with what is missing."""
    missing: dict[str, str] = {}
    try:
        executor = MigrationExecutor(connection)
        if executor.migration_plan(executor.loader.graph.leaf_nodes()):
            missing["migrations"] = "run `python manage.py migrate`"
    except DatabaseError as exc:
        missing["database"] = type(exc).__name__
    try:
        redis_client(settings.REDIS_URL).ping()
    except RedisError as exc:
        missing["redis"] = type(exc).__name__
    return JsonResponse({"ready": not missing, "missing": missing}, status=503 if missing else 200)
