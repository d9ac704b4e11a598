"""Books the costs of pods: price segments open, change and close with a pod's state."""

from datetime import datetime
from decimal import Decimal

from pods.models import Pod, PriceSegment
from pods.price import cost_micros
from pods.states import CREATING, ENDED, FAILED, REQUESTED, RESUMING, STOPPED, PodState


def begin(pod: Pod, *, now: datetime) -> None:
    """Book a new row: an adopted pod bills from now on, a requested pod does not yet."""
    if pod.status is not REQUESTED:
        reprice(pod, pod.hourly_usd, now=now)


def follow(pod: Pod, before: PodState, after: PodState, *, now: datetime) -> None:
    """Book the change of price that a move causes. Call it inside the move's transaction."""
    if after in ENDED:
        end = pod.destroy_asked_at if pod.destroy_asked_at and after is not FAILED else now
        close(pod, at=min(end, now))
    elif after is STOPPED:
        reprice(pod, pod.stopped_hourly_usd, now=now)
    elif (after is CREATING and before is REQUESTED) or after is RESUMING or before in ENDED:
        reprice(pod, pod.hourly_usd, now=now)


def reprice(pod: Pod, hourly_usd: Decimal, *, now: datetime) -> None:
    """Book `hourly_usd` (USD/hour) as the pod's price from now on."""
    running = PriceSegment.objects.filter(pod=pod, until__isnull=True).first()
    if running is not None and running.hourly_usd == hourly_usd:
        return
    close(pod, at=now)
    PriceSegment.objects.create(pod=pod, fleet_id=pod.fleet_id, hourly_usd=hourly_usd, since=now)


def close(pod: Pod, *, at: datetime) -> None:
    """End the open segment at `at`, and store its cost."""
    for segment in PriceSegment.objects.filter(pod=pod, until__isnull=True):
        segment.until = max(at, segment.since)
        segment.cost_micros = cost_micros(segment.hourly_usd, segment.until - segment.since)
        segment.save(update_fields=["until", "cost_micros"])


def still_there(pod: Pod) -> None:
    """Reopen the last segment, because a pod that was booked as gone was seen and billed all along."""
    if PriceSegment.objects.filter(pod=pod, until__isnull=True).exists():
        return
    last = PriceSegment.objects.filter(pod=pod).order_by("-since", "-pk").first()
    if last is not None:
        last.until, last.cost_micros = None, 0
        last.save(update_fields=["until", "cost_micros"])


def never_billed(pod: Pod) -> None:
    """Delete the pod's segments, because the provider proved that nothing was created."""
    PriceSegment.objects.filter(pod=pod).delete()
