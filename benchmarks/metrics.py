"""Milliseconds and queries of `/metrics` with 200 fleets and 2,000 pods, and its size."""

import time
from datetime import timedelta
from statistics import median
from typing import Any, Final

from django.conf import settings
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext, override_settings
from rich.console import Console

from config import preparing
from fleet import operating
from fleet.models import Fleet, Tick
from pods.base import counters
from pods.base.clock import utcnow
from pods.models import Account, Installation, Pod, PriceSegment
from pods.states import READY, TERMINATED

FLEETS: Final = 200
PODS_OF_A_FLEET: Final = 10  # that may bill; the same number has ended
TICKS_OF_A_FLEET: Final = 100
RULES: Final = ("max_instances", "max_hourly_usd", "spawn_per_tick", "")
REPEATS: Final = 15
TOKEN: Final = "benchmark"  # noqa: S105 - of this benchmark


def fill(fleets: int) -> None:
    """Make the fleets with their pods, costs, decisions and counters."""
    account, tag, now = operating.local_account(), Installation.tag(), utcnow()
    for number in range(fleets):
        fleet = Fleet.objects.create(
            name=f"bench-{number}", handler="pods.agent.handlers.pace:sleep", stream=f"s-{number}"
        )
        _pods(fleet, account, tag)
        Tick.objects.bulk_create(
            Tick(
                fleet=fleet, at=now - timedelta(seconds=15 * n), token=n, depth=1000, active=3,
                desired=5, target=3, binding="max_instances", sentence="held",
            )
            for n in range(TICKS_OF_A_FLEET)
        )  # fmt: skip
        for rule in RULES:
            counters.count("decisions", str(fleet.pk), rule)
    for call in ("create", "destroy", "list", "status"):
        counters.called(account.pk, call, "ok", 0.2)


def _pods(fleet: Fleet, account: Account, tag: str) -> None:
    now = utcnow()
    shared: dict[str, Any] = {"fleet": fleet, "account": account, "provider": account.provider}
    shared |= {"tag": tag, "state_since": now, "requested_at": now, "hourly_usd": 1, "done": 70}
    pods = Pod.objects.bulk_create(
        Pod(name=f"{fleet.name}-{state.value}-{n}", state=state.value, **shared)
        for state in (READY, TERMINATED)
        for n in range(PODS_OF_A_FLEET)
    )
    PriceSegment.objects.bulk_create(
        PriceSegment(
            pod=pod, fleet=fleet, hourly_usd=1, since=now - timedelta(hours=2),
            until=now if pod.status is TERMINATED else None, cost_micros=2_000_000,
        )
        for pod in pods
    )  # fmt: skip


def run(console: Console, *, quick: bool) -> dict[str, Any]:
    """Measure the page after it was asked for once."""
    preparing.ensure_services()
    preparing.migrate()
    fleets = FLEETS // 10 if quick else FLEETS
    try:
        fill(fleets)
        with override_settings(
            METRICS_TOKEN=TOKEN, ALLOWED_HOSTS=[*settings.ALLOWED_HOSTS, "testserver"]
        ):
            found = _measure()
    finally:
        preparing.stop_services()
    console.print(f"{fleets} fleets: {found}")
    return {"name": "metrics", "fleets": fleets, **found}


def _measure() -> dict[str, float]:
    client, times, work = Client(headers={"Authorization": f"Bearer {TOKEN}"}), [], []
    client.get("/metrics")
    with CaptureQueriesContext(connection) as queries:
        size = len(client.get("/metrics").content)
    asked = len(queries)  # the next request empties the list
    for _ in range(REPEATS):
        began, worked = time.perf_counter(), time.process_time()
        assert client.get("/metrics").status_code == 200
        times.append((time.perf_counter() - began) * 1000)
        work.append((time.process_time() - worked) * 1000)
    return {
        "ms": round(median(times), 1),
        "cpu_ms": round(min(work), 1),  # what other work on the machine changes least
        "ms_worst": round(max(times), 1),
        "queries": asked,
        "bytes": size,
    }
