"""How long decisions, shadows, events, samples, the market, balances and ended alerts are kept."""

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import structlog
from django.conf import settings
from django.db.models import QuerySet

from fleet.models import Alert, Balance, KeyedRequest, PersonEvent, Sample, Shadow, ShadowTick, Tick
from fleet.models.tokens import KEYS_KEPT
from pods.base.clock import utcnow
from pods.models import OfferSpell, PodEvent, SurveySpell

log = structlog.get_logger(__name__)
# Small enough that a writer on SQLite waits only milliseconds.
CHUNK: Final = 1000
# The next run deletes the rest. Well below the task's time limit.
LONGEST: Final = timedelta(seconds=45)
GRAINS: Final = (timedelta(minutes=5), timedelta(hours=1))


def prune(*, longest: timedelta = LONGEST) -> Mapping[str, int]:
    """Delete rows that are older than the settings allow, in chunks; return how many of each kind.

    Safe to run twice, at the same time, or to be killed at any line.
    """
    deleted: Counter[str] = Counter()
    end = time.monotonic() + longest.total_seconds()
    for kind, rows in _outdated(utcnow()):
        while time.monotonic() < end:
            pks = list(rows.values_list("pk", flat=True)[:CHUNK])
            if not pks:
                break
            rows.model.objects.filter(pk__in=pks).delete()
            deleted[kind] += len(pks)
    if deleted:
        log.info("rows_pruned", **deleted)
    return deleted


def _outdated(now: datetime) -> Iterator[tuple[str, QuerySet[Any]]]:
    days = settings.RETENTION_DAYS
    for grain in range(len(GRAINS) + 1):
        keep = timedelta(days=days[f"samples_{grain}"])
        yield f"samples_{grain}", Sample.objects.filter(grain=grain, at__lt=now - keep)
    yield "ticks", Tick.objects.filter(at__lt=now - timedelta(days=days["ticks"]))
    kept = now - timedelta(days=days["ticks"])
    yield "shadow_ticks", ShadowTick.objects.filter(at__lt=kept)
    yield "shadows", Shadow.objects.filter(until__lt=kept)
    ended = now - timedelta(days=days["events"])
    # A living pod keeps its whole history.
    yield "events", PodEvent.objects.filter(at__lt=ended, pod__ended_at__lt=ended).order_by("at")
    yield "person_events", PersonEvent.objects.filter(at__lt=ended)
    yield "alerts", Alert.objects.filter(resolved_at__lt=now - timedelta(days=days["alerts"]))
    yield "keyed_requests", KeyedRequest.objects.filter(created_at__lt=now - KEYS_KEPT)
    market = now - timedelta(days=days["market"])
    yield "offer_spells", OfferSpell.objects.filter(until__lt=market)
    yield "survey_spells", SurveySpell.objects.filter(until__lt=market)
    yield "balances", Balance.objects.filter(at__lt=now - timedelta(days=days["balances"]))


def grain_of(at: datetime, before: datetime | None) -> int:
    """2 for the first sample of an hour, 1 for the first of five minutes, else 0."""
    if before is None:
        return len(GRAINS)
    spans = [grain.total_seconds() for grain in GRAINS]
    return sum(at.timestamp() // span > before.timestamp() // span for span in spans)
