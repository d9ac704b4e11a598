"""Samples: one pod works on a part of the backlog, so that a quote rests on a measured speed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

import structlog
from django.db import transaction
from django.db.models import Sum

from fleet import forecasting, operating
from fleet.decision.values import Mode
from fleet.models import Fleet, Limits, SampleRun
from fleet.tick import gathering, market
from pods.base import words
from pods.base.shared_clock import shared_now
from pods.catalogue import gpus
from pods.models import Pod, histories
from pods.plural import plural
from pods.price import cost_usd

log = structlog.get_logger(__name__)
USUAL_MINUTES: Final = 30
MOST_MINUTES: Final = 240
MOST_ITEMS: Final = 10**7


class NoSample(ValueError):
    """No sample can be made; the message says why and what would be right."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """What pods of a kind of GPU showed in the last 30 days."""

    gpu_type: str
    gpu_count: int
    items_per_second: float
    at: datetime  # when the last one worked

    def as_json(self) -> dict[str, Any]:
        """The values of `fleet quote --json`."""
        return {
            "gpu": self.gpu_type, "gpus": self.gpu_count,
            "items_per_second": round(self.items_per_second, 3), "at": self.at.isoformat(),
        }  # fmt: skip


def speeds(fleet: Fleet, now: datetime) -> Sequence[Speed]:
    """The measured speeds of a fleet's pods, those measured last first."""
    known = market.experience(fleet, now, []).speeds
    last: dict[tuple[str, int], datetime] = {}
    rows = Pod.objects.filter(market.says_speed(), fleet=fleet, done__gt=0).values_list(
        "gpu_type", "gpu_count", "ended_at"
    )
    for gpu_type, count, ended_at in rows:
        kind = gpus.named(gpu_type), count
        last[kind] = max(last.get(kind, ended_at or now), ended_at or now)
    found = [
        Speed(gpu_type=kind[0], gpu_count=kind[1], items_per_second=rate, at=last.get(kind, now))
        for kind, rate in known.items()
    ]
    return sorted(found, key=lambda one: one.at, reverse=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Begun:
    """A sample that began, and the most that it should cost."""

    run: SampleRun
    most_usd: Decimal


def begin(fleet: Fleet, items: int, *, minutes: int = USUAL_MINUTES, by: str) -> Begun:
    """Let one pod work on about so many items, for at most so many minutes.

    From here on only ticks act, by the row that this writes. Raises:
        NoSample: it cannot be made now.
        ValidationError: the fleet is archived.
        EditedMeanwhile: somebody else edited the fleet.
    """
    operating.refuse_archived(fleet)
    if not 1 <= items <= MOST_ITEMS:
        raise NoSample(f"--sample: give 1 to {MOST_ITEMS:,} items")
    if not 1 <= minutes <= MOST_MINUTES:
        raise NoSample(f"--sample-minutes: give 1 to {MOST_MINUTES}")
    now = shared_now()
    if why := _why_not(fleet, now):
        raise NoSample(f"{fleet.name}: no sample can be made: {why}")
    most_usd = _most_usd(fleet, now, timedelta(minutes=minutes))
    with transaction.atomic():
        # A tick that decides now finds another version, starts nothing, and decides again.
        operating.claim_version(fleet)
        SampleRun.objects.filter(fleet=fleet).delete()
        run = SampleRun.objects.create(
            fleet=fleet, items=items, by=by, version=fleet.version, began_at=now,
            until=now + timedelta(minutes=minutes), ends_pods=fleet.mode == Mode.PAUSED.value,
        )  # fmt: skip
        histories.note(fleet, f"sample of {items} items begun by {by}")
    log.info("sample_begun", fleet=fleet.name, items=items, minutes=minutes, by=by)
    return Begun(run=run, most_usd=most_usd)


def end(run: SampleRun) -> None:
    """End a sample now; the next tick ends its pod, if the fleet is paused."""
    there = SampleRun.objects.filter(pk=run.pk, stopped_at=None)
    with transaction.atomic():
        if there.update(stopped_at=shared_now()):
            histories.note(run.fleet, "sample ended by hand")


def too_short(fleet: Fleet, run: SampleRun) -> str:
    """Why a sample showed no speed, if its pod worked for too short a time; "" if that is not why."""
    rows = Pod.objects.filter(
        fleet=fleet, requested_at__gte=run.began_at, done__gt=0, held_ms__gt=0
    )
    sums = rows.aggregate(done=Sum("done"), held=Sum("held_ms"))
    if not sums["held"] or rows.filter(market.says_speed()).exists():
        return ""
    per_second = 1000 * sums["done"] / sums["held"]
    # It ends one tick before it would pass its items, and the pod should work for twice the least.
    least = market.LEAST_HELD_MS / 1000
    items = per_second * (2 * least + fleet.tick_period.total_seconds())
    return (
        f"the sample was too short to measure a speed: its pod had work for "
        f"{sums['held'] / 1000:.0f} s, and {least:.0f} s are needed; take "
        f"--sample {_rounded_up(items)}"
    )


def _rounded_up(items: float) -> int:
    """With two figures, in the limits of a sample."""
    unit = int(10 ** max(0, len(str(math.ceil(items))) - 2))
    return min(MOST_ITEMS, math.ceil(items / unit) * unit)


def why_early(fleet: Fleet, run: SampleRun) -> str:
    """Why a sample that is over ended before its items were done; "" if they were."""
    if run.done >= run.items:
        return ""
    if run.version != fleet.version:
        why = "the fleet was edited"
    elif (run.stopped_at or run.until) >= run.until:
        why = f"its time was over ({words.duration(run.until - run.began_at)})"
    else:
        why = f"the next tick would pass {run.items:,}"
    return f"stopped at {run.done:,} of {run.items:,}, because {why}"


def _why_not(fleet: Fleet, now: datetime) -> str:
    if fleet.archive_when_empty:
        return "the fleet is to be archived"
    if fleet.mode == Mode.STOP_ALL.value:
        return f"the fleet is stopped; pause it first: `fleet pause {fleet.name}`"
    if (mode := Limits.get().mode) != Mode.RUNNING.value:
        return f"the whole installation is {mode.replace('_', ' ')}; `fleet undo-stop` ends that"
    if not fleet.max_instances:
        return "max_instances is 0; one pod must be allowed"
    if count := fleet.pods.billable().count():
        return (
            f"{plural(count, 'pod')} may still bill; wait until its speed is known or it has ended"
        )
    running = SampleRun.objects.filter(fleet=fleet, finished_at=None).first()
    if running is not None and running.measures(now, fleet.version):
        return f"one of {running.by} runs until {running.until:%F %H:%M} UTC"
    depth, because = gathering.measure(fleet)
    if depth is None:
        return f"the backlog is unknown: {because}"
    if not depth.items:
        return "the backlog is empty; put items onto it first"
    return ""


def _most_usd(fleet: Fleet, now: datetime, time: timedelta) -> Decimal:
    """The dearest offer that can be rented, for the time of the sample and the end of the pod."""
    seen = forecasting.facts_of(fleet, now).seen
    if not seen.offers:
        why = seen.no_offers_because or "nothing is offered"
        raise NoSample(f"{fleet.name}: no sample can be made: nothing can be rented now: {why}")
    end = timedelta(seconds=fleet.drain_seconds) + 2 * fleet.tick_period
    return cost_usd(max(offer.hourly_usd for offer in seen.offers), time + end)
