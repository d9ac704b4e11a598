"""What a heartbeat says about the use of its pod, and which rows keep what holds pods back."""

from typing import Any

import pytest

from fleet.backlog.base import Depth
from fleet.decision.usage import WINDOW
from fleet.tick import measures
from pods.agent.protocol import AgentState, Heartbeat
from pods.agent_redis.heartbeats import Beat
from pods.bottleneck import Bottleneck
from pods.models import Pod
from pods.states import READY
from tests.support.factories import a_fleet, a_pod, pod_facts, seconds

WINDOW_MS = int(WINDOW.total_seconds() * 1000)


@pytest.mark.parametrize(
    ("depth", "wait"),
    [
        (None, None),
        (Depth(waiting=1, pending=0, estimated=True), None),
        (Depth(waiting=1, pending=5), True),
        (Depth(waiting=0, pending=5), False),
    ],
)
def test_items_wait_if_a_count_says_so(depth: Depth | None, wait: bool | None) -> None:
    assert measures.items_wait(depth) is wait


@pytest.mark.parametrize(
    ("age", "uptime_ms", "rtt_ms", "known", "rtt"),
    [
        (1, WINDOW_MS, 180.0, True, seconds(0.18)),
        (1, WINDOW_MS, None, True, None),
        (30, WINDOW_MS, None, True, None),
        (31, WINDOW_MS, None, False, None),
        (1, WINDOW_MS - 1, None, False, None),
    ],
)
def test_only_a_whole_and_new_window_says_something(
    age: float, uptime_ms: int, rtt_ms: float | None, known: bool, rtt: Any
) -> None:
    said = Heartbeat(state=AgentState.WORKING, busy=0.5, uptime_ms=uptime_ms, rtt_ms=rtt_ms)
    found = measures.facts_of_use(Beat(age=seconds(age), said=said), None)
    assert (found.get("busy"), found.get("rtt")) == ((0.5, rtt) if known else (None, None))
    assert measures.facts_of_use(None, None) == {}


@pytest.mark.django_db
def test_only_rows_with_another_word_are_written(django_assert_num_queries: Any) -> None:
    fleet = a_fleet()
    same, other, unseen = (a_pod(fleet, READY, bottleneck="link") for _ in range(3))
    facts = [
        pod_facts(same.pk, bottleneck=Bottleneck.LINK),
        pod_facts(other.pk, bottleneck=Bottleneck.FEED),
    ]
    pods = {pod.pk: pod for pod in (same, other, unseen)}
    with django_assert_num_queries(1):
        measures.remember_bottlenecks(pods, facts)
    words = Pod.objects.order_by("pk").values_list("bottleneck", flat=True)
    assert list(words) == ["link", Bottleneck.FEED.value, "link"]
