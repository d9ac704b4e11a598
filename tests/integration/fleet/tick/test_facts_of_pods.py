"""What a tick reads of a pod's row, its heartbeat and the last ticks."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from fleet.decision.placement import NOTHING_KNOWN
from fleet.models import Fleet, Tick
from fleet.tick import gathering, requesting
from pods.agent.protocol import MOST_FAILING, AgentState, Heartbeat
from pods.agent_redis.heartbeats import Beat, Consumer
from pods.emulators.base import SteppedClock
from pods.models import Account, Pod
from pods.states import BOOTING, DRAINING, READY, STOPPED, TERMINATING, PodState
from tests.support.factories import NOON, a_fleet, a_pod, hours, seconds
from tests.support.fixtures import time as time

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def at_noon(time: SteppedClock) -> None:
    pass


def a_beat(age: float = 1, **said: Any) -> Beat:
    return Beat(age=seconds(age), said=Heartbeat(state=AgentState.WORKING, **said))


def facts_of(pod: Pod, beat: Beat | None = None, plain: Consumer | None = None) -> Any:
    return gathering._pod_facts(pod, beat, plain, NOTHING_KNOWN, None, NOON)


@pytest.mark.parametrize(
    ("beat", "idle", "in_flight"),
    [
        (None, None, None),
        (a_beat(idle_ms=4000), seconds(5), 0),
        (a_beat(idle_ms=0), None, 0),
        (a_beat(idle_ms=4000, in_flight=2), None, 2),
    ],
)
def test_how_long_an_agent_is_idle(beat: Beat | None, idle: Any, in_flight: int | None) -> None:
    seen = facts_of(a_pod(state=READY), beat)
    assert (seen.idle_for, seen.in_flight) == (idle, in_flight)
    assert (seen.items_per_second is None, seen.all_fail) == (beat is None, None)


@pytest.mark.parametrize(
    ("row", "idle", "pending", "idle_for"),
    [
        ({"ready_at": NOON - hours(1)}, seconds(9), 0, seconds(9)),
        ({"ready_at": NOON - seconds(5)}, seconds(9), 0, seconds(5)),
        ({"ready_at": NOON - hours(1)}, None, 0, hours(1)),
        ({"ready_at": NOON - hours(1), "heard_since": NOON - seconds(7)}, None, 0, seconds(7)),
        ({"ready_at": None, "requested_at": NOON - hours(2)}, None, 0, hours(2)),
        ({"ready_at": NOON - hours(1), "heard_since": None}, None, 0, seconds(0)),
        ({"ready_at": NOON - hours(1)}, seconds(9), 3, None),
    ],
)
def test_how_long_a_plain_consumer_is_idle(
    row: dict[str, Any], idle: Any, pending: int, idle_for: Any
) -> None:
    pod = a_pod(state=READY, **{"heard_since": NOON - hours(9), **row})
    consumer = Consumer(asked=seconds(1), idle=idle, pending=pending)
    seen = facts_of(pod, None, consumer)
    assert (seen.idle_for, seen.in_flight) == (idle_for, pending)


def test_a_stopped_pods_last_heartbeat_says_nothing(time: SteppedClock) -> None:
    pod = a_pod(state=STOPPED, stopped_hourly_usd=Decimal("0.1"))
    Pod.objects.filter(pk=pod.pk).update(state_since=NOON - hours(1))
    pod.refresh_from_db()
    seen = facts_of(pod, a_beat(idle_ms=4000, done=9))
    assert (seen.idle_for, seen.items_per_second, seen.all_fail) == (None, None, None)
    assert (seen.stopped_for, seen.ready_for, seen.leaving_for) == (hours(1), None, None)
    runs = facts_of(a_pod(state=READY), a_beat(failing=MOST_FAILING))
    assert (runs.stopped_for, runs.ready_for, runs.all_fail) == (None, seconds(0), True)
    assert runs.leaving_for is None
    assert facts_of(a_pod(state=TERMINATING), None).leaving_for == seconds(0)


@pytest.mark.parametrize(
    ("state", "age", "rate"),
    [
        (READY, 1, 4.0),
        (DRAINING, 1, 4.0),
        (READY, 61, None),  # its last heartbeat is of the past
        (TERMINATING, 1, None),  # fenced: it finishes nothing any more
        (STOPPED, 1, None),
    ],
)
def test_the_rate_of_a_pod_that_is_gone_does_not_count(
    state: PodState, age: float, rate: float | None
) -> None:
    pod = a_pod(state=state, silent_seconds=60)
    seen = facts_of(pod, a_beat(age, rate=4.0, done=10**6, uptime_ms=60_000))
    assert seen.items_per_second == rate


@pytest.mark.parametrize(
    ("row", "usable"),
    [
        ({}, True),
        ({"enabled": False}, False),
        ({"open_until": NOON + seconds(1)}, False),
        ({"open_until": NOON}, True),
    ],
)
def test_whether_a_pods_account_may_start_it(row: dict[str, Any], usable: bool) -> None:
    pod = a_pod(state=STOPPED)
    Account.objects.update(**row)
    assert facts_of(Pod.objects.get()).account_usable is usable
    assert pod.pk


def test_which_pods_are_still_on_trial() -> None:
    fleet = a_fleet()
    new, done, works, old = (a_pod(fleet, READY) for _ in range(4))
    done.done, old.template_hash = 1, "another"
    pods = [new, done, works, old]
    shown = gathering._with_trials(fleet, [facts_of(p) for p in pods], pods, {works.pk})
    assert [seen.trial for seen in shown] == [True, False, False, False]


def test_which_pods_work_by_their_heartbeat_or_their_consumer() -> None:
    beats = {1: a_beat(done=1), 2: a_beat(done=0)}
    plain = {
        3: Consumer(asked=seconds(1), idle=seconds(1), pending=0),
        4: Consumer(asked=seconds(1), idle=seconds(1), pending=1),
        5: Consumer(asked=seconds(1), idle=None, pending=0),
    }
    assert gathering._working(beats, plain) == {1, 3}


@pytest.mark.parametrize(
    ("rates", "whole"), [([], None), ([None, 0.0], None), ([1.5, None, 0.5], 2.0)]
)
def test_the_rate_of_a_fleet(rates: list[float | None], whole: float | None) -> None:
    pod = a_pod(state=READY)
    seen = [replace(facts_of(pod), items_per_second=rate) for rate in rates]
    assert gathering._rate(seen) == whole


def test_why_all_fail_is_what_the_newest_such_heartbeat_says() -> None:
    failing = {"failing": MOST_FAILING}
    beats = [
        a_beat(9, note="old", **failing),
        a_beat(2, note="new", **failing),
        a_beat(1, note="it works", done=1),
    ]
    assert gathering._why_all_fail(beats) == "new"
    assert gathering._why_all_fail(beats[2:]) == ""


def a_tick(fleet: Fleet, ago: float, depth: int | None, pending: int = 0) -> None:
    facts = {"active": 0, "ready": 0, "desired": 0, "target": 0, "binding": ""}
    token = Tick.objects.filter(fleet=fleet).count() + 1
    at = NOON - seconds(ago)
    Tick.objects.create(fleet=fleet, at=at, token=token, depth=depth, pending=pending, **facts)


@pytest.mark.parametrize(
    ("depth", "ticks", "waiting"),
    [
        (None, [], None),
        ({"waiting": 0, "pending": 2}, [], None),
        ({"waiting": 1, "pending": 2}, [], seconds(0)),
        ({"waiting": 3, "estimated": True}, [(5, 9, 0)], None),
        ({"waiting": 3}, [(5, 9, 0), (10, 9, 8), (15, 9, 9), (20, 9, 0)], seconds(10)),
        ({"waiting": 3}, [(5, 9, 0), (10, None, 0), (15, 9, 0)], seconds(5)),
    ],
)
def test_for_how_long_items_have_waited(depth: Any, ticks: Any, waiting: Any) -> None:
    fleet, other = a_fleet(), a_fleet()
    a_tick(other, 1, 0)
    a_tick(fleet, 0, 0)  # at this moment
    for ago, items, pending in ticks:
        a_tick(fleet, ago, items, pending)
    read = None if depth is None else gathering.Depth(**{"pending": 0, **depth})
    assert gathering._waiting_for(read, gathering._last_ticks(fleet, NOON), NOON) == waiting


@pytest.mark.parametrize(
    ("row", "took"),
    [
        ({"ready_at": NOON, "asked_at": NOON - seconds(60)}, seconds(60)),
        ({"ready_at": NOON, "asked_at": None, "requested_at": NOON - seconds(90)}, seconds(90)),
        ({"ready_at": None, "asked_at": NOON}, None),
    ],
)
def test_a_boot_takes_from_its_request_until_the_pod_is_ready(
    row: dict[str, Any], took: timedelta | None
) -> None:
    fleet = a_fleet()
    a_pod(a_fleet(), READY, ready_at=NOON, asked_at=NOON - seconds(5))
    a_pod(fleet, READY, **row)
    assert gathering._boot_time(fleet) == took


@pytest.mark.parametrize(
    ("hash_now", "done", "works", "proven"),
    [
        ("same", 0, False, False),
        ("same", 1, False, True),
        ("same", 0, True, True),
        ("x", 1, True, False),
    ],
)
def test_a_template_is_proven_by_an_item(
    hash_now: str, done: int, works: bool, proven: bool
) -> None:
    fleet = a_fleet()
    pod = a_pod(fleet, READY, done=done)
    if hash_now != "same":
        pod.template_hash = hash_now
    assert gathering._proven(fleet, [pod], {pod.pk} if works else set()) is proven
    fleet.proven_template = requesting.template_hash(fleet)
    assert gathering._proven(fleet, [], set())


def test_only_pods_that_run_or_boot_are_peers() -> None:
    pods = [a_pod(state=state) for state in (BOOTING, READY, DRAINING, STOPPED)]
    assert gathering._peers(pods) == 2


def gathered(**values: Any) -> Any:
    facts: dict[str, Any] = {"seen": None, "policy": None, "pods": {}, "depth": None}
    return gathering.Gathered(**{**facts, "last_tick_at": None, "limits_version": 0, **values})


@pytest.mark.parametrize(
    ("depth", "dead"),
    [
        (None, 5),
        ({"waiting": 1, "dead": None}, 5),
        ({"waiting": 1, "dead": 0}, 0),
        ({"waiting": 1, "dead": 7}, 7),
    ],
)
def test_dead_letters_are_remembered_while_they_are_known(depth: Any, dead: int) -> None:
    fleet, other = a_fleet(), a_fleet()
    Fleet.objects.update(dead_letters=5)
    fleet.refresh_from_db()
    read = None if depth is None else gathering.Depth(**{"pending": 0, **depth})
    gathering.remember_dead(fleet, gathered(depth=read))
    fleet.refresh_from_db()
    other.refresh_from_db()
    assert (fleet.dead_letters, other.dead_letters) == (dead, 5)
