"""Books the costs of pods: price segments open, change and close with a pod's state."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from pods.models import Pod, PriceSegment
from pods.price import cost_micros
from pods.states import CREATING, ENDED, REQUESTED, RESUMING, STOPPED, PodState


def begin(pod: Pod, *, since: datetime) -> None:
    """Book a new row: an adopted pod bills from `since` on, a requested pod does not yet."""
    if pod.status is not REQUESTED:
        reprice(pod, pod.hourly_usd, now=since)


def follow(pod: Pod, before: PodState, after: PodState, *, now: datetime) -> None:
    """Book the change of price that a move causes. Call it inside the move's transaction."""
    if after in ENDED:
        close(pod, at=min(pod.destroy_asked_at or now, now))
    elif after is STOPPED:
        reprice(pod, pod.stopped_hourly_usd, now=now)
    elif before in ENDED:  # its machine is seen again
        since = now if still_there(pod) else min(pod.asked_at or now, now)
        reprice(pod, pod.hourly_usd, now=since)
    elif (after is CREATING and before is REQUESTED) or after is RESUMING:
        reprice(pod, pod.hourly_usd, now=now)


def reprice(pod: Pod, hourly_usd: Decimal, *, now: datetime) -> None:
    """Book `hourly_usd` (USD/hour) as the pod's price from now on."""
    running = PriceSegment.objects.filter(pod=pod, until__isnull=True).first()
    if running is not None and running.hourly_usd == hourly_usd:
        return
    with transaction.atomic():
        close(pod, at=now)
        PriceSegment.objects.create(
            pod=pod, fleet_id=pod.fleet_id, hourly_usd=hourly_usd, since=now
        )


def open_prices(pods: Sequence[Pod]) -> Mapping[int, Decimal]:
    """USD/hour of each pod's open segment, by the pod's id. One query."""
    running = PriceSegment.objects.filter(pod__in=[pod.pk for pod in pods], until__isnull=True)
    return dict(running.values_list("pod_id", "hourly_usd"))


def close(pod: Pod, *, at: datetime) -> None:
    """End the open segment at `at`, and store its cost."""
    for segment in PriceSegment.objects.filter(pod=pod, until__isnull=True):
        segment.until = max(at, segment.since)
        segment.cost_micros = cost_micros(segment.hourly_usd, segment.until - segment.since)
        segment.save(update_fields=["until", "cost_micros"])


def still_there(pod: Pod) -> bool:
    """Reopen the last segment of a pod that was booked as gone and billed; False: it has none."""
    if PriceSegment.objects.filter(pod=pod, until__isnull=True).exists():
        return True
    last = PriceSegment.objects.filter(pod=pod).order_by("-since", "-pk").first()
    if last is None:
        return False
    last.until, last.cost_micros = None, 0
    last.save(update_fields=["until", "cost_micros"])
    return True


def never_billed(pod: Pod) -> None:
    """Delete the pod's segments, because the provider proved that nothing was created."""
    PriceSegment.objects.filter(pod=pod).delete()
