"""What agents say about their use, as facts of a decision and as columns of the pods."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

from fleet.backlog.base import Depth
from fleet.decision.usage import WINDOW
from fleet.decision.values import PodFacts
from pods.agent_redis.heartbeats import Beat
from pods.bottleneck import TimeSpent, bottleneck
from pods.models import Pod
from pods.sightings import fails_all


def items_wait(depth: Depth | None) -> bool | None:
    """Whether there are items that no pod has taken; None: nobody knows."""
    if depth is None or depth.estimated:
        return None
    return depth.items > depth.pending


def facts_of_use(beat: Beat | None, depth: Depth | None) -> dict[str, Any]:
    """What a heartbeat says about the use of its pod. Of a window that is not whole it says nothing."""
    if beat is None or beat.age > WINDOW or beat.said.uptime_ms < WINDOW.total_seconds() * 1000:
        return {}
    said = beat.said
    spent = TimeSpent(
        busy=said.busy,
        starved=said.starved,
        link=said.link,
        starting=said.starting,
        full=said.full,
        all_fail=bool(fails_all(said)),
        items_wait=items_wait(depth),
    )
    return {
        "busy": said.busy,
        "bottleneck": bottleneck(spent),
        "rtt": None if said.rtt_ms is None else timedelta(milliseconds=said.rtt_ms),
        "batch": said.batch,
        "gpu_percent": said.gpu_percent,
    }


def remember_bottlenecks(pods: Mapping[int, Pod], facts: Iterable[PodFacts]) -> None:
    """Note on the rows what holds each pod back, in one statement for each word that is new."""
    changed: dict[str, list[int]] = defaultdict(list)
    for fact in facts:
        word = fact.bottleneck.value
        if pods[fact.pod_id].bottleneck != word:
            changed[word].append(fact.pod_id)
    for word, pks in changed.items():
        Pod.objects.filter(pk__in=pks).update(bottleneck=word)
