"""Old rows are deleted in chunks; the samples for a chart of a month stay."""

from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from fleet import retention
from fleet.models import Alert, Sample, Tick
from fleet.tick import ticking
from pods import lifecycle
from pods.emulators.base import SteppedClock
from pods.models import Pod, PodEvent
from pods.states import LOST, READY
from tests.support.factories import NOON, a_fleet, a_pod

pytestmark = pytest.mark.django_db
DAY = 24 * 3600


def samples(fleet: Any, *, every: int, count: int) -> None:
    before = None
    rows = []
    for n in range(count):
        at = NOON + timedelta(seconds=n * every)
        grain = retention.grain_of(at, before)
        rows.append(Sample(fleet=fleet, at=at, grain=grain, depth=n, pods=1))
        before = at
    Sample.objects.bulk_create(rows, batch_size=500)


def test_each_tick_leaves_a_sample(redis_url: str, time: SteppedClock) -> None:
    fleet = a_fleet()
    grains = []
    for _ in range(22):
        assert ticking.tick_fleet(fleet.pk) is not None
        grains.append(Sample.objects.latest("pk").grain)
        time.advance(15)
    assert grains == [2] + 19 * [0] + [1, 0]
    sample = Sample.objects.latest("pk")
    assert (sample.depth, sample.pods, sample.spent_today_usd) == (None, 0, 0)


def test_old_samples_are_thinned_out(time: SteppedClock) -> None:
    samples(a_fleet(), every=15, count=2 * 240)  # two hours
    deleted = dict(retention.prune())
    assert deleted == {}
    time.advance(3 * DAY)
    deleted = dict(retention.prune())
    assert deleted == {"samples_0": 480 - 24}
    assert Sample.objects.count() == 24  # one in five minutes
    time.advance(12 * DAY)
    retention.prune()
    assert [s.at for s in Sample.objects.order_by("at")] == [NOON, NOON + timedelta(hours=1)]
    time.advance(400 * DAY)
    retention.prune()
    assert not Sample.objects.exists()


def test_late_ticks_still_leave_one_sample_in_five_minutes() -> None:
    at = NOON + timedelta(minutes=7)
    assert retention.grain_of(at, NOON + timedelta(minutes=1)) == 1
    assert retention.grain_of(at + timedelta(hours=1), at) == 2
    assert retention.grain_of(at + timedelta(seconds=15), at) == 0


def test_old_decisions_and_ended_alerts_are_deleted_and_open_alerts_stay(
    time: SteppedClock,
) -> None:
    fleet = a_fleet()
    values = {"severity": "info", "text": "x", "first_seen_at": NOON, "last_seen_at": NOON}
    Alert.objects.create(cause="no_tick", subject="a", resolved_at=NOON, **values)
    still = Alert.objects.create(cause="no_tick", subject="b", **values)
    for n in range(3):
        Tick.objects.create(
            fleet=fleet,
            at=NOON + timedelta(days=n),
            token=n,
            active=0,
            desired=0,
            target=0,
            sentence="keeps 0 pods",
        )
    time.advance(31.5 * DAY)
    retention.prune()
    assert [t.token for t in Tick.objects.all()] == [2]
    time.advance(365 * DAY)
    retention.prune()
    assert list(Alert.objects.all()) == [still]


def test_a_living_pod_keeps_its_whole_history(time: SteppedClock) -> None:
    living, ended = a_pod(state=READY), a_pod(state=READY)
    lifecycle.move(Pod.objects.get(pk=ended.pk), LOST, by="test", because="gone")
    time.advance(366 * DAY)
    retention.prune()
    assert {e.pod_id for e in PodEvent.objects.all()} == {living.pk}


def test_rows_are_deleted_in_chunks_and_a_run_is_limited_in_time(time: SteppedClock) -> None:
    samples(a_fleet(), every=15, count=300)
    time.advance(3 * DAY)
    with (
        mock.patch.object(retention, "CHUNK", 100),
        CaptureQueriesContext(connection) as queries,
    ):
        retention.prune()
    sizes = [q["sql"].count(",") + 1 for q in queries if q["sql"].startswith("DELETE")]
    assert [size for size in sizes if size > 100] == []
    assert len(sizes) >= 3
    samples(a_fleet(), every=15, count=300)
    assert retention.prune(longest=timedelta(0)) == {}
