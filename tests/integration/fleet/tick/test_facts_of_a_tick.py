"""The facts that a tick reads, and what it does where one is missing."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any
from unittest import mock

import pytest
import redis

from fleet import operating
from fleet.models import Backlog, Fleet, Limits, Tick
from fleet.tick import gathering, requesting, scheduling, ticking
from pods.accounts import connecting
from pods.agent.protocol import AgentState, Heartbeat
from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.models import Account, Pod
from pods.states import READY, STOPPED
from tests.support.factories import OFFER, a_fleet, a_pod, an_account
from tests.support.items import add_items

pytestmark = pytest.mark.django_db

COUNTS = {"pending": 0, "active": 0, "ready": 0, "desired": 0, "target": 0, "milliseconds": 1}
COUNTS |= {"spawned": 0, "retired": 0, "hourly_usd": 0, "spent_today_usd": 0}


@pytest.fixture
def fleet(redis_url: str) -> Fleet:
    account = an_account(offers=[OFFER], surveyed_at=clock.utcnow())
    made: Fleet = a_fleet(accounts=[account], name="emb", max_instances=5, target_depth_per_pod=10)
    operating.make_group(made)
    return made


def beat(redis_url: str, pod: Pod, **said: Any) -> None:
    client = redis.Redis.from_url(redis_url, protocol=2)
    seconds, micros = client.time()
    fields = Heartbeat(state=AgentState.WORKING, **said).fields()
    at_ms = str(seconds * 1000 + micros // 1000)
    client.hset(connecting.keys(pod).pod(pod.name), mapping={**fields, "at_ms": at_ms})


def seen(fleet: Fleet) -> Any:
    return gathering.gather(Fleet.objects.get(pk=fleet.pk), clock.utcnow()).seen


def test_only_a_pod_of_the_same_template_proves_it(fleet: Fleet) -> None:
    a_pod(fleet, READY, done=5, template_hash="another")
    assert not seen(fleet).proven
    a_pod(fleet, READY, done=0)
    assert not seen(fleet).proven
    a_pod(fleet, READY, done=5)
    assert seen(fleet).proven


def test_a_pod_with_items_in_hand_is_not_idle(fleet: Fleet, redis_url: str) -> None:
    pod = a_pod(fleet, READY)
    beat(redis_url, pod, idle_ms=9000, in_flight=1)
    [facts] = seen(fleet).pods
    assert (facts.idle_for, facts.in_flight) == (None, 1)
    beat(redis_url, pod, idle_ms=9000, in_flight=0)
    [facts] = seen(fleet).pods
    assert facts.idle_for is not None
    assert facts.idle_for >= timedelta(seconds=9)
    beat(redis_url, pod, idle_ms=0, in_flight=0)
    [facts] = seen(fleet).pods
    assert (facts.idle_for, facts.in_flight) == (None, 0)


def test_the_last_heartbeat_of_a_stopped_pod_says_nothing(fleet: Fleet, redis_url: str) -> None:
    pod = a_pod(fleet, STOPPED)
    beat(redis_url, pod, idle_ms=9000, rate=5.0, done=100, uptime_ms=9000)
    [facts] = seen(fleet).pods
    assert (facts.idle_for, facts.in_flight, facts.items_per_second) == (None, None, None)


def test_items_wait_since_the_last_tick_that_saw_none(
    fleet: Fleet, redis_url: str, time: SteppedClock
) -> None:
    add_items(redis_url, 5)
    for token, depth in enumerate((0, None, 5, 5)):
        Tick.objects.create(fleet=fleet, at=time(), token=token, depth=depth, **COUNTS)
        time.advance(60)
    assert seen(fleet).waiting_for == timedelta(seconds=120)
    Tick.objects.filter(depth=None).update(depth=3)
    assert seen(fleet).waiting_for == timedelta(seconds=180)
    Tick.objects.filter(depth=3).update(pending=3)
    assert seen(fleet).waiting_for == timedelta(seconds=120)


def test_an_estimated_depth_does_not_say_that_items_wait(fleet: Fleet, redis_url: str) -> None:
    depth = gathering.measure(fleet)[0]
    assert depth is not None
    now = clock.utcnow()
    for estimated, waiting in ((True, None), (False, timedelta(0))):
        told = replace(depth, waiting=9, pending=0, estimated=estimated)
        assert gathering._waiting_for(told, (), now) == waiting


def test_a_stopped_pod_of_another_fleet_counts_at_its_stopped_price(fleet: Fleet) -> None:
    other = a_fleet(accounts=list(fleet.accounts.all()), name="other", stream="s", group="g")
    a_pod(other, STOPPED, hourly_usd=Decimal(2), stopped_hourly_usd=Decimal("0.1"))
    a_pod(other, READY, hourly_usd=Decimal(3), stopped_hourly_usd=Decimal("0.2"))
    limits = Limits.get()
    limits.max_hourly_usd = Decimal(9)
    there = gathering.elsewhere(fleet, limits, clock.utcnow())
    assert (there.pods, there.hourly_usd) == (2, Decimal("3.1"))


def test_a_tick_starts_nothing_if_another_fleets_stopped_pod_runs_again_meanwhile(
    fleet: Fleet, redis_url: str
) -> None:
    Fleet.objects.update(proven_template=requesting.template_hash(fleet))
    other = a_fleet(accounts=list(fleet.accounts.all()), name="other", stream="s", group="g")
    pod = a_pod(other, STOPPED, hourly_usd=Decimal(2), stopped_hourly_usd=Decimal("0.1"))
    add_items(redis_url, 100)
    Limits.made()
    Limits.objects.update(max_hourly_usd=Decimal("2.2"))
    decide = ticking.decide

    def slow(*values: Any) -> Any:
        decided = decide(*values)
        Pod.objects.filter(pk=pod.pk).update(state=READY.value)
        return decided

    with mock.patch.object(ticking, "decide", slow):
        assert ticking.tick_fleet(fleet.pk) is None
    assert not Pod.objects.filter(fleet=fleet).exists()


def test_a_fleet_without_an_account_says_so(fleet: Fleet) -> None:
    fleet.accounts.clear()
    assert seen(fleet).no_offers_because == ("the fleet has no account to rent from; give it one")
    fleet.accounts.add(an_account(name="closed", enabled=False))
    assert seen(fleet).no_offers_because == "closed: the account is disabled"


def test_a_celery_fleets_pods_get_the_app_and_beat_at_the_installations_redis(
    fleet: Fleet,
) -> None:
    fleet.backlog, fleet.handler = Backlog.CELERY_REDIS, "shop.celery:app"
    fleet.backlog_url = "redis://broker.example:6379/0"
    made = requesting.template(fleet)
    assert (made.redis_url, made.agent["celery_app"]) == ("", "shop.celery:app")
    fleet.backlog = Backlog.REDIS_STREAM
    made = requesting.template(fleet)
    assert (made.redis_url, made.agent["celery_app"]) == (fleet.backlog_url, "")


def test_a_new_fleet_ticks_as_often_as_was_asked(fleet: Fleet) -> None:
    made = a_fleet(name="fast", tick=timedelta(seconds=4), stream="s", group="g")
    task = Fleet.objects.get(pk=made.pk).schedule
    assert task is not None
    assert (made.tick_period, task.expire_seconds) == (timedelta(seconds=4), 3)
    usual = Fleet.objects.get(pk=fleet.pk)
    assert usual.tick_period == scheduling.DEFAULT_TICK


@pytest.mark.parametrize("seconds", [0, 0.9, -3])
def test_a_period_below_a_second_is_refused(fleet: Fleet, seconds: float) -> None:
    with pytest.raises(ValueError, match="1 or more"):
        scheduling.keep_schedule(fleet, every=timedelta(seconds=seconds))
    scheduling.keep_schedule(fleet, every=timedelta(seconds=1))
    task = Fleet.objects.get(pk=fleet.pk).schedule
    assert task is not None
    assert task.expire_seconds == 1


def test_an_account_that_was_paused_after_failures_offers_nothing_until_its_pause_ends(
    fleet: Fleet, time: SteppedClock
) -> None:
    Account.objects.update(surveyed_at=time(), open_until=time() + timedelta(minutes=1))
    assert seen(fleet).offers == ()
    time.advance(61)
    assert len(seen(fleet).offers) == 1
