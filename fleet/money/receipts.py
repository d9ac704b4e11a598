"""What a fleet's pods cost and did since a moment: to compare with a quote."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.db.models import Q, QuerySet, Sum

from fleet.models import Fleet, Tick
from pods.models import Pod, PriceSegment


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """What became of the items that were quoted. Pods that ran before do not count."""

    since: datetime
    items: int  # that pods finished which were requested since
    pods: int
    pod_hours: float
    spent_usd: Decimal  # by the ledger
    done_at: datetime | None  # the first tick without a backlog after them; None: not yet


def receipt(fleet: Fleet, since: datetime, now: datetime) -> Receipt:
    """What the fleet's pods since that moment cost and did. Three queries."""
    pods = Pod.objects.filter(fleet=fleet, requested_at__gte=since)
    found = pods.aggregate(done=Sum("done"), before=Sum("done_before"))
    segments = list(PriceSegment.objects.filter(Q(until=None) | Q(until__gt=since), pod__in=pods))
    hours = sum(((s.until or now) - s.since for s in segments), timedelta(0)) / timedelta(hours=1)
    items = (found["done"] or 0) + (found["before"] or 0)
    empty = Tick.objects.filter(fleet=fleet, at__gt=since, depth=0).order_by("at")
    return Receipt(
        since=since,
        items=items,
        pods=len({segment.pod_id for segment in segments}),
        pod_hours=hours,
        spent_usd=sum((segment.cost_usd(now) for segment in segments), Decimal(0)),
        done_at=_after_work(empty, pods) if items else None,
    )


def _after_work(empty: QuerySet[Tick], pods: QuerySet[Pod]) -> datetime | None:
    """The first empty tick after the first of these pods was ready."""
    ready = pods.exclude(ready_at=None).order_by("ready_at").values_list("ready_at", flat=True)
    first = ready.first()
    if first is None:
        return None
    return empty.filter(at__gte=first).values_list("at", flat=True).first()
