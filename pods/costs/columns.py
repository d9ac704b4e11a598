"""The costs of pods as columns that a database can sort by."""

from datetime import datetime
from typing import Any

from django.db.models import Case, F, FloatField, Func, OuterRef, Subquery, Sum, Value, When
from django.db.models.expressions import Combinable
from django.db.models.functions import Coalesce

from pods.models import MICROS, PodQuerySet, PriceSegment
from pods.price import HOUR_SECONDS, MILLION


class SecondsUntil(Func):
    """The seconds from a column's time to a given time."""

    arity = 2
    output_field = FloatField()

    def as_sqlite(self, compiler: Any, connection: Any, **options: Any) -> Any:
        """SQLite counts in days."""
        template = "((julianday(%(expressions)s)) * 86400.0)"
        return self.as_sql(
            compiler, connection, template=template, arg_joiner=") - julianday(", **options
        )

    def as_postgresql(self, compiler: Any, connection: Any, **options: Any) -> Any:
        """PostgreSQL has an interval."""
        template = "EXTRACT(EPOCH FROM (%(expressions)s))"
        return self.as_sql(compiler, connection, template=template, arg_joiner=" - ", **options)


def with_cost(pods: PodQuerySet, now: datetime) -> PodQuerySet:
    """The pods with `cost_usd` and `million_usd`, to show and to sort by; floats, not for the ledger.

    `million_usd` is the cost of a million items on the pod; NULL before its first item.
    """
    segments = PriceSegment.objects.filter(pod=OuterRef("pk")).order_by()
    closed = segments.values("pod").annotate(n=Sum("cost_micros"))  # 0 while open
    running = segments.filter(until__isnull=True).values("pod")
    seconds = SecondsUntil(Value(now), F("since"))
    price: Combinable = F("hourly_usd") * seconds / Value(float(HOUR_SECONDS))
    open_usd = running.annotate(usd=Sum(price, output_field=FloatField()))
    cost = Coalesce(
        Subquery(closed.values("n"), output_field=FloatField()) / Value(float(MICROS)),
        Value(0.0),
        output_field=FloatField(),
    ) + Coalesce(Subquery(open_usd.values("usd")), Value(0.0), output_field=FloatField())
    return pods.annotate(cost_usd=cost).annotate(
        million_usd=Case(
            When(done__gt=0, then=F("cost_usd") * Value(float(MILLION)) / F("done")),
            output_field=FloatField(),
        )
    )
