"""Books the costs of pods: price segments open, change and close with a pod's state."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal

from django.db import transaction

from pods.base.shared_clock import shared_now
from pods.models import Correction, Pod, PriceSegment
from pods.price import cost_micros
from pods.states import CREATING, ENDED, REQUESTED, RESUMING, STOPPED, PodState


def begin(pod: Pod, *, since: datetime) -> None:
    """Book a new row: an adopted pod bills from `since` on, a requested pod does not yet."""
    if pod.status is not REQUESTED:
        reprice(pod, pod.hourly_usd, now=since)


def follow(pod: Pod, before: PodState, after: PodState, *, now: datetime) -> None:
    """Book the change of price that a move causes. Call it inside the move's transaction."""
    if after in ENDED:
        close(pod, at=min(pod.destroy_asked_at or now, now), now=now)
    elif after is STOPPED:
        reprice(pod, pod.stopped_hourly_usd, now=now)
    elif before in ENDED:  # its machine is seen again
        since = now if still_there(pod, now=now) else min(pod.asked_at or now, now)
        reprice(pod, pod.hourly_usd, now=since)
    elif after in {CREATING, RESUMING}:
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


def close(
    pod: Pod,
    *,
    at: datetime,
    now: datetime | None = None,
    why: Correction.Why = Correction.Why.ENDED_EARLIER,
) -> None:
    """End the open segment at `at`, and store its cost.

    `now`: until when it was counted. `why` it ends earlier than that is kept.
    """
    for segment in PriceSegment.objects.filter(pod=pod, until__isnull=True):
        segment.until = max(at, segment.since)
        segment.cost_micros = cost_micros(segment.hourly_usd, segment.until - segment.since)
        segment.save(update_fields=["until", "cost_micros"])
        if now is not None:
            counted = cost_micros(segment.hourly_usd, now - segment.since)
            _correct(segment, segment.until, now, segment.cost_micros - counted, why, at=now)


def still_there(pod: Pod, *, now: datetime | None = None) -> bool:
    """Reopen the last segment of a pod that was booked as gone and billed; False: it has none."""
    now = now or shared_now()
    last = PriceSegment.objects.filter(pod=pod).order_by("-since", "-pk").first()
    if last is None:
        return False
    if last.until is None:
        return True
    ended, booked = last.until, last.cost_micros
    last.until, last.cost_micros = None, 0
    with transaction.atomic():
        last.save(update_fields=["until", "cost_micros"])
        more = cost_micros(last.hourly_usd, now - last.since) - booked
        _correct(last, ended, now, more, Correction.Why.STILL_THERE, at=now)
    return True


def never_billed(pod: Pod) -> None:
    """Delete the pod's segments, because the provider proved that nothing was created."""
    now = shared_now()
    with transaction.atomic():
        for segment in PriceSegment.objects.filter(pod=pod):
            until = segment.until or now
            counted = cost_micros(segment.hourly_usd, until - segment.since)
            why = Correction.Why.NEVER_CREATED
            _correct(segment, segment.since, until, -counted, why, at=now)
        PriceSegment.objects.filter(pod=pod).delete()


def _correct(
    segment: PriceSegment, since: datetime, until: datetime, micros: int, why: Correction.Why,
    *, at: datetime,
) -> None:  # fmt: skip
    """Keep why what was counted is not what is booked; nothing if both are the same."""
    if micros and since < until:
        Correction.objects.create(
            pod_id=segment.pod_id, fleet_id=segment.fleet_id, at=at, since=since, until=until,
            hourly_usd=segment.hourly_usd, micros=micros, why=why.value,
        )  # fmt: skip
