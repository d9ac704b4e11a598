"""Queries, Redis round trips and milliseconds of one tick with 10 to 10,000 pod rows."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median
from typing import Any, Final
from unittest import mock

from django.conf import settings
from django.db import connection
from django.test.utils import CaptureQueriesContext
from redis.connection import AbstractConnection
from rich.console import Console
from rich.table import Table

from config import preparing
from fleet import operating
from fleet.models import Fleet, Tick
from fleet.tick import requesting, ticking
from fleet.tick.requesting import template_hash
from pods.agent.protocol import AgentState, Heartbeat, Keys
from pods.base.clock import utcnow
from pods.base.redis import redis_client
from pods.models import Installation, Pod
from pods.states import READY

SIZES: Final = (10, 100, 1_000, 10_000)
REPEATS: Final = 7


@contextmanager
def round_trips() -> Iterator[list[int]]:
    """Count the requests to Redis within the block; a pipeline is one request."""
    sent: list[int] = []
    send = AbstractConnection.send_packed_command

    def counted(self: Any, command: Any, **options: Any) -> Any:
        sent.append(1)
        return send(self, command, **options)  # type: ignore[no-untyped-call]

    with mock.patch.object(AbstractConnection, "send_packed_command", counted):
        yield sent


def fill(fleet: Fleet, count: int) -> None:
    """Give the fleet `count` READY pods with heartbeats, and remove all others."""
    account = fleet.accounts.get()
    now, tag = utcnow(), Installation.tag()
    Pod.objects.filter(fleet=fleet).delete()
    shared: dict[str, Any] = {
        "fleet": fleet,
        "account": account,
        "provider": account.provider,
        "tag": tag,
        "state": READY.value,
        "state_since": now,
        "requested_at": now,
        "ready_at": now,
        "agent": requesting.agent_settings(fleet),
        "template_hash": template_hash(fleet),
    }
    pods = Pod.objects.bulk_create(
        (Pod(name=f"{tag}-{n}", external_id=f"m-{n}", **shared) for n in range(count)),
        batch_size=500,
    )
    beat: dict[Any, Any] = Heartbeat(
        state=AgentState.WORKING, done=5, in_flight=3, rate=8.0
    ).fields()
    pipe = redis_client(settings.REDIS_URL).pipeline(transaction=False)
    for pod in pods:
        pipe.hset(
            Keys(fleet.name).pod(pod.name),
            mapping={**beat, "at_ms": str(int(now.timestamp() * 1000))},
        )
    pipe.execute()


def measure(fleet: Fleet) -> dict[str, int]:
    """The queries and round trips of one tick."""
    with CaptureQueriesContext(connection) as queries, round_trips() as sent:
        assert ticking.tick_fleet(fleet.pk) is not None
    return {"queries": len(queries), "redis_round_trips": len(sent)}


def run(console: Console, *, quick: bool) -> dict[str, Any]:
    """Measure each size; the counts do not grow."""
    preparing.ensure_services()
    preparing.migrate()
    sizes = SIZES[:2] if quick else SIZES
    fleet = operating.create_fleet(
        "bench", by="bench", handler="pods.agent.handlers.pace:sleep", max_instances=20_000
    )
    client = redis_client(settings.REDIS_URL)
    for n in range(1000):
        client.xadd(fleet.stream, {"payload": str(n)})
    table = Table("pod rows", "SQL queries", "Redis round trips", "ms (median)", "ms (worst)")
    found: dict[str, dict[str, float]] = {}
    try:
        for size in sizes:
            fill(fleet, size)
            ticking.tick_fleet(fleet.pk)  # opens connections and proves the template
            counts = measure(fleet)
            times = []
            for _ in range(REPEATS):
                began = time.perf_counter()
                ticking.tick_fleet(fleet.pk)
                times.append((time.perf_counter() - began) * 1000)
            Tick.objects.all().delete()
            found[str(size)] = {**counts, "ms": round(median(times), 1)}
            table.add_row(
                f"{size:,}",
                str(counts["queries"]),
                str(counts["redis_round_trips"]),
                f"{median(times):.1f}",
                f"{max(times):.1f}",
            )
    finally:
        preparing.stop_services()
    console.print(table)
    return {"name": "tick", "pods": found}
