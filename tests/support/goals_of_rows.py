"""Rows of a fleet with a goal: its market, its backlog, and a pod that showed its speed."""

from datetime import timedelta
from typing import Any

from fleet import operating
from fleet.decision.values import Goal
from fleet.models import Fleet
from fleet.tick.requesting import template_hash
from pods.base.clock import utcnow
from pods.base.redis import redis_client
from pods.models import Account, Pod
from pods.states import LOST
from tests.support.factories import a_fleet, a_pod, an_account, hours, packed

KIND = "L4"


def a_market() -> Account:
    spot = packed("spot", "0.92", KIND, interruptible=True)
    return an_account("runpod", offers=[spot, packed("firm", "3.06", KIND)])


def of_deadline(left: float = 24, **values: Any) -> Fleet:
    its: dict[str, Any] = {"goal": Goal.DEADLINE.value, "drain_by": utcnow() + hours(left)}
    return a_fleet(**{"image": "agent:1", "max_instances": 8, "spawn_per_tick": 4, **its, **values})


def fill(fleet: Fleet, redis_url: str, items: int) -> None:
    client = redis_client(redis_url)
    operating.make_group(fleet)
    pipe = client.pipeline(transaction=False)
    for n in range(items):
        pipe.xadd(fleet.stream, {"payload": str(n)})
    pipe.execute()


def with_speed(fleet: Fleet, items_per_second: float, **values: Any) -> Pod:
    """A pod of last week that showed how fast this fleet's pods are, and proved the template."""
    Fleet.objects.filter(pk=fleet.pk).update(proven_template=template_hash(fleet))
    fleet.refresh_from_db()
    began = utcnow() - timedelta(days=2)
    its: dict[str, Any] = {"gpu_type": KIND, "gpu_count": 1, "done": 500}
    times = {"requested_at": began, "asked_at": began, "ready_at": began + timedelta(minutes=4)}
    return a_pod(fleet, LOST, rate=items_per_second, **{**its, **times, **values})
