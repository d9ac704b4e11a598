"""The words among which operators choose in the fields of a fleet."""

from typing import Final

from django.core.validators import RegexValidator
from django.db import models

from fleet.decision.values import Goal, Mode

HANDLER = RegexValidator(
    r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*\Z", "give package.module:function, as the agent imports it"
)
MODES = [(m.value, m.value.replace("_", " ")) for m in Mode]
GOALS: Final = [
    (Goal.DEMAND.value, "demand: a pod for so many items"),
    (Goal.DEADLINE.value, "deadline: done by a moment, at the least cost"),
    (Goal.BUDGET.value, "budget: as fast as a sum of money allows"),
    (Goal.CHEAPEST.value, "cheapest: at the least cost, whenever it is done"),
]


class Backlog(models.TextChoices):
    """The kind of backlog in which the items of a fleet wait."""

    REDIS_STREAM = "redis_stream", "Redis stream and consumer group"
    DATASET = "dataset", "Dataset: files in an object store"
    CELERY_REDIS = "celery_redis", "Celery queue on Redis"
    CELERY_RABBITMQ = "celery_rabbitmq", "Celery queue on RabbitMQ"


# Their items, or their ranges of rows, are entries of a Redis stream.
ON_STREAM: Final = frozenset({Backlog.REDIS_STREAM.value, Backlog.DATASET.value})


class RedisRoute(models.TextChoices):
    """How rented pods reach the Redis of their fleet."""

    INTERNET = "internet", "internet: a public address with TLS"
    TUNNEL = "tunnel", "tunnel: through a tunnel or a VPN that you have set up"


class IdleAction(models.TextChoices):
    """What happens to an idle pod."""

    DESTROY = "destroy", "destroy it"
    STOP = "stop", "stop it and keep its disk, if the provider can stop pods"
