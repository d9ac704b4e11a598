"""A tick retires one straggler, not two, and later ticks avoid its host."""

from datetime import timedelta
from typing import Any

import pytest
import redis

from fleet import operating
from fleet.models import Fleet
from fleet.tick import market, ticking
from pods import lifecycle
from pods.accounts import connecting
from pods.agent.protocol import AgentState, Heartbeat
from pods.base import clock
from pods.emulators.base import SteppedClock
from pods.models import Account, Pod
from pods.states import READY, TERMINATED, TERMINATING
from tests.support.factories import a_fleet, a_pod, an_account, packed
from tests.support.items import add_items

pytestmark = pytest.mark.django_db


def beat(client: Any, pod: Pod, rate: float) -> None:
    seconds, micros = client.time()
    said = Heartbeat(state=AgentState.WORKING, done=pod.done + 500, in_flight=4, rate=rate).fields()
    at = {"at_ms": str(seconds * 1000 + micros // 1000)}
    client.hset(connecting.keys(pod).pod(pod.name), mapping={**said, **at})


def test_the_worst_pod_drains_its_host_is_avoided_and_the_next_worst_stays(redis_url: str) -> None:
    offers = [packed("slow", "0.1", "A", host="h9"), packed("other", "0.5", "A", host="h99")]
    account: Account = an_account("runpod", offers=offers)
    fleet = a_fleet(accounts=[account], max_instances=5, target_depth_per_pod=10, image="i:1")
    add_items(redis_url, 1000)
    operating.make_group(fleet)
    client = redis.Redis.from_url(redis_url, protocol=2)
    pods = [
        a_pod(fleet, READY, gpu_type="A", gpu_count=1, host=f"h{rate}", done=50, rate=rate)
        for rate in (8, 9, 10, 2, 1)
    ]
    worst = pods[-1]
    long_ago = clock.utcnow() - timedelta(minutes=10)
    Pod.objects.update(state_since=long_ago, requested_at=long_ago)
    Pod.objects.filter(pk=worst.pk).update(host="h9")
    for pod in pods:
        beat(client, pod, pod.rate)
    decision = ticking.tick_fleet(fleet.pk)
    assert decision is not None
    assert [(r.pod_id, r.rule) for r in decision.retire] == [(worst.pk, "straggler")]
    worst.refresh_from_db()
    assert worst.state == "draining"
    assert "of the items per dollar that its peers on this GPU finish" in worst.retire_because
    again = ticking.tick_fleet(fleet.pk)
    assert again is not None
    assert again.retire == ()
    lifecycle.move(worst, TERMINATING, by="test", because="drained")
    lifecycle.move(worst, TERMINATED, by="test", because="gone")
    now = clock.utcnow()
    known = market.experience(fleet, now, [])
    assert [o.key for o in market.offers_for(fleet, now, known).offers] == ["other"]


def ticked(fleet: Fleet, time: SteppedClock, pod: Pod, *, minutes: int) -> list[str]:
    """The reasons of retirements during these minutes of ticks; the pod beats and takes nothing."""
    client = redis.Redis.from_url(connecting.redis_url(pod), protocol=2)
    because = []
    for _ in range(minutes):
        seconds, micros = client.time()
        said = Heartbeat(state=AgentState.WORKING, idle_ms=3_600_000).fields()
        at = {"at_ms": str(seconds * 1000 + micros // 1000)}
        client.hset(connecting.keys(pod).pod(pod.name), mapping={**said, **at})
        decision = ticking.tick_fleet(fleet.pk)
        assert decision is not None
        because += [r.because for r in decision.retire]
        time.advance(60)
    return because


@pytest.mark.fault(18)
def test_a_pod_that_beats_and_takes_nothing_is_replaced_once_items_have_waited(
    redis_url: str, time: SteppedClock
) -> None:
    account: Account = an_account("runpod", offers=[packed("o", "0.1", "A")])
    fleet = a_fleet(
        accounts=[account], max_instances=1, min_instances=1, target_depth_per_pod=10, image="i:1"
    )
    operating.make_group(fleet)
    pod = a_pod(fleet, READY, gpu_type="A", gpu_count=1)
    assert ticked(fleet, time, pod, minutes=8) == []  # no item waits, and min_instances keeps it
    add_items(redis_url, 10)
    assert ticked(fleet, time, pod, minutes=5) == []
    [because] = ticked(fleet, time, pod, minutes=1)
    assert because == "has taken no item for 3600 s while items wait"
