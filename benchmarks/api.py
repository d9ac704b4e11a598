"""The REST API: queries and milliseconds by the number of rows, `/metrics`, and items/s over HTTP."""

import json
import secrets
import socket
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from statistics import median
from typing import Any, Final

import httpx
import psutil
from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from rich.console import Console
from rich.table import Table

from benchmarks.admin import fill_pods
from benchmarks.processes import running, wait_for
from config import preparing
from fleet import operating, tokens
from fleet.decision.alert_facts import Cause, Severity
from fleet.models import Alert, Fleet, Override, Scope, Tick
from fleet.tick import ticking
from pods.base import clock
from pods.base.clock import utcnow
from pods.base.redis import redis_client
from pods.models import Pod

SIZES: Final = (100, 200, 1_000)  # fleets; a page has 50 rows
METRICS_AT: Final = 200
PODS: Final = 10  # of each fleet, that may bill; as many have ended
REPEATS: Final = 9
KEYS: Final = ("queries", "ms", "cpu_ms")  # of the processor: it does not depend on other work
ITEMS: Final = 200_000
PATHS: Final[Mapping[str, str]] = {
    "fleets": "/fleets", "fleet": "/fleets/bench-0", "next tick": "/fleets/bench-0/next",
    "where an item is": "/fleets/bench-0/items/none", "dead letters": "/fleets/bench-0/dead",
    "results": "/fleets/bench-0/results", "pods": "/pods", "pods of a fleet": "/pods?fleet=bench-0",
    "pod": "/pods/{pod}", "decisions": "/decisions", "alerts": "/alerts", "holds": "/holds",
    "limits": "/limits", "stop": "/stop", "money": "/money", "offers": "/offers",
    "accounts": "/accounts", "channels": "/channels", "machines": "/machines",
    "datasets": "/datasets",
}  # fmt: skip


def fill(console: Console, begin: int, end: int) -> None:
    """Make fleets with their pods, an alert, a hold and a decision."""
    now = utcnow()
    for n in range(begin, end):
        fleet = operating.create_fleet(
            f"bench-{n}", by="bench", stream=f"bench-{n}", max_instances=50,
            handler="pods.agent.handlers.pace:sleep",
        )  # fmt: skip
        operating.make_group(fleet)
        fill_pods(fleet, PODS)
        Alert.objects.create(
            fleet=fleet, cause=Cause.POD_OLD, subject=f"pod {n}", severity=Severity.WARNING,
            text="it is old", first_seen_at=now, last_seen_at=now,
        )  # fmt: skip
        until = now + timedelta(days=1)
        Override.objects.create(fleet=fleet, pods=1, until=until, by="bench", because="bench")
        _decide(fleet)
        if console.is_terminal:
            console.print(f"{n + 1} fleets filled", end="\r")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def _decide(fleet: Fleet) -> None:
    """Give the fleet a decision: its own, or from the second fleet on a copy, which is made sooner."""
    tick = Tick.objects.order_by("pk").first()
    if tick is None:
        ticking.tick_fleet(fleet.pk)
        return
    tick.pk, tick.fleet = None, fleet
    tick.save(force_insert=True)


def measure(secret: str) -> dict[str, dict[str, float]]:
    """For each list and page, the number of queries and the median of the server's milliseconds."""
    pod = Pod.objects.filter(fleet__name="bench-0").latest("pk").name
    headers = {"HTTP_AUTHORIZATION": f"Bearer {secret}"}
    standing = utcnow()
    with clock.use(lambda: standing):
        return {
            name: _measured(f"/api/v1{path.format(pod=pod)}", headers)
            for name, path in PATHS.items()
        }


def _measured(url: str, headers: Mapping[str, str]) -> dict[str, float]:
    client = Client(SERVER_NAME="localhost")
    first = client.get(url, **headers)  # type: ignore[arg-type]  # opens connections
    assert first.status_code == 200, f"{url}: {first.content[:500]!r}"
    with CaptureQueriesContext(connection) as queries:
        client.get(url, **headers)  # type: ignore[arg-type]
    count = len(queries)
    walls, cpus = [], []
    for _ in range(REPEATS):
        began, used = time.perf_counter(), time.process_time()
        client.get(url, **headers)  # type: ignore[arg-type]
        walls.append((time.perf_counter() - began) * 1000)
        cpus.append((time.process_time() - used) * 1000)
    return {"queries": count, "ms": round(median(walls), 1), "cpu_ms": round(median(cpus), 1)}


def bulk(secret: str, items: int) -> dict[str, float]:
    """Items a second of one request with this many, to a server as the stack runs it."""
    fleet = Fleet.objects.get(name="bench-0")
    lines = (
        json.dumps({"id": str(n), "payload": f"text {n} {'x' * 80}"}) + "\n" for n in range(items)
    )
    body, client = "".join(lines).encode(), redis_client(settings.REDIS_URL)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1"]
    command += [
        "--port",
        str(port),
        "--blocking-threads",
        "4",
        "--no-ws",
        "config.wsgi:application",
    ]
    base = f"http://127.0.0.1:{port}"
    headers = {"Authorization": f"Bearer {secret}"}
    found = []
    with running(command, {}) as web, httpx.Client(base_url=base, headers=headers) as http:
        assert wait_for(lambda: _answers(http), 60), "the web server does not answer"
        for _ in range(3):
            client.delete(fleet.stream)
            before, began = _cpu(web.pid, client), time.perf_counter()
            answer = http.post(
                "/api/v1/fleets/bench-0/items/bulk", content=body, timeout=300,
                headers={"Idempotency-Key": secrets.token_hex(8)},
            )  # fmt: skip
            seconds = time.perf_counter() - began
            assert answer.json().get("enqueued") == items, answer.text[:500]
            used = _cpu(web.pid, client) - before
            found.append((items / seconds, items / used))
    return {"per_second": round(max(found)[0]), "per_cpu_second": round(max(found)[1])}


def _answers(http: httpx.Client) -> bool:
    try:
        return http.get("/healthz").status_code == 200
    except httpx.TransportError:
        return False


def _cpu(web: int, client: Any) -> float:
    """Seconds of the processor that the web server and Redis have used."""
    server = psutil.Process(client.info("server")["process_id"])
    family = psutil.Process(web)
    return sum(
        sum(process.cpu_times()[:2])
        for process in (server, family, *family.children(recursive=True))
    )


def run(console: Console, *, quick: bool) -> dict[str, Any]:
    """Measure all, with few rows and with many."""
    sizes, items = ((2, 5), 20_000) if quick else (SIZES, ITEMS)
    settings.API_REQUESTS_PER_MINUTE, settings.METRICS_TOKEN = 10**6, "bench"
    preparing.ensure_services()
    preparing.migrate()
    preparing.ensure_admin()
    owner = get_user_model().objects.get(is_superuser=True)
    _, secret = tokens.make_token(owner, "bench", Scope.ADMIN, by="bench")
    by_size: dict[int, dict[str, dict[str, float]]] = {}
    metrics: dict[str, float] = {}
    try:
        for before, size in zip((0, *sizes), sizes, strict=False):
            fill(console, before, size)
            by_size[size] = measure(secret)
            if size == METRICS_AT or quick:
                metrics = _measured("/metrics", {"HTTP_AUTHORIZATION": "Bearer bench"})
        sent = bulk(secret, items)
    finally:
        preparing.stop_services()
    few, many = by_size[sizes[0]], by_size[sizes[-1]]
    sizes_shown = (sizes[0], sizes[-1])
    table = Table("GET", *(f"{word}, {size}" for size in sizes_shown for word in KEYS))
    for name in PATHS:
        table.add_row(name, *(str(each[name][key]) for each in (few, many) for key in KEYS))
    console.print(table)
    console.print(f"/metrics: {metrics}; bulk: {sent}")
    return {
        "name": "api", "fleets": sizes[-1], "pods": sizes[-1] * PODS, "few": few, "many": many,
        "metrics": metrics, "bulk": sent,
    }  # fmt: skip
