"""Each page on a desktop and a phone, light and dark, has no error and no horizontal scrolling."""

import random
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from math import sin
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from fleet.models import Alert, Fleet, Sample, Tick
from fleet.tick.requesting import agent_settings
from pods.base.clock import utcnow
from pods.models import Account, Pod, PodEvent, PriceSegment
from tests.support.factories import a_fleet, an_account
from tests.support.looks import LOOKS, SIZES
from tests.support.spells import read_for, stood

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
# What covers its neighbour, or is wider than its place, in a row of a list or of the first page.
COVERED = """[...document.querySelectorAll(".pf-row-line, #result_list .data-row")].flatMap(row => {
    const cells = [...row.children].filter(cell => cell.clientWidth);
    const parts = [...row.querySelectorAll("button, a.pf-button")].filter(b => b.checkVisibility());
    const cover = (a, b) => {
        const [p, q] = [a.getBoundingClientRect(), b.getBoundingClientRect()];
        return Math.min(p.right, q.right) - Math.max(p.left, q.left) > 2
            && Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 2;
    };
    const wide = cells.filter(cell => cell.scrollWidth > cell.clientWidth + 2);
    const under = [...cells, ...parts].flatMap(part => cells.filter(
        cell => cell !== part && !cell.contains(part) && cover(cell, part)));
    return [...wide, ...under].map(cell => cell.className.split(" ")[0] + ": " + cell.textContent.trim());
})"""
IN_DOCS = Path(__file__).parents[2] / "docs" / "screenshots"
STATES = ("ready", "ready", "ready", "booting", "draining")


def some_pods(fleet: Fleet, accounts: list[Account], count: int, now: datetime) -> None:
    for n in range(count):
        token, account = uuid.uuid5(uuid.NAMESPACE_DNS, f"{fleet.name}{n}"), accounts[n % 2]
        since = now - timedelta(hours=5 * n + 1)
        state = STATES[n % 5]
        pod = Pod.objects.create(
            fleet=fleet, account=account, provider=account.provider, external_id=f"m{fleet.pk}{n}",
            client_token=token, name=f"pf-ab12cd-{fleet.pk}-{token.hex}", tag=f"pf-ab12cd-{fleet.pk}",
            state=state, state_since=since, requested_at=since, ready_at=since, beat_at=now,
            gpu_type=("NVIDIA L4", "NVIDIA GeForce RTX 4090")[n % 2], gpu_count=1,
            hourly_usd=Decimal(("0.39", "0.69")[n % 2]), rate=8.4 + n / 3 if state == "ready" else 0,
            done=151_000 * (n + 1), because="its agent sends heartbeats",
            console_url="https://console.runpod.io/pods?id=m1", agent=agent_settings(fleet),
        )  # fmt: skip
        PriceSegment.objects.create(
            pod=pod, fleet=fleet, hourly_usd=pod.hourly_usd, since=pod.requested_at
        )
        for after, before, by, why, seconds in (
            (
                "",
                "requested",
                "tick",
                "the backlog needs 42 pods (41,800,000 items at 1,000,000 per pod)",
                0,
            ),
            ("requested", "creating", "spawn", "the provider is asked for a machine", 1),
            ("creating", "booting", "spawn", "its machine was created", 4),
            ("booting", "ready", "health", "its agent sends heartbeats", 81),
        ):
            PodEvent.objects.create(
                pod=pod, at=since + timedelta(seconds=seconds), by=by, before=after, after=before,
                because=why,
            )  # fmt: skip


def some_samples(fleet: Fleet, depth: int, now: datetime) -> None:
    noise = random.Random(3)
    rows = []
    for grain, step, count in ((2, 3600, 168), (1, 300, 288), (0, 15, 240)):
        for k in range(count):
            at = now - timedelta(seconds=step * k)
            pods = max(0, min(fleet.max_instances, int(4 + 2 * sin(k * step / 9000))))
            rows.append(
                Sample(
                    fleet=fleet, at=at, grain=grain, depth=int(depth + step * k * pods * 8.3),
                    pods=pods, ready=max(0, pods - 1), items_per_second=8.3 * pods + noise.random(),
                    hourly_usd=Decimal(pods) / 2, spent_today_usd=Decimal(at.hour * 60 + at.minute) / 40,
                )
            )  # fmt: skip
    Sample.objects.bulk_create(rows)


def make_rows() -> None:
    """Make two fleets, one of them with alerts."""
    now = utcnow()
    accounts = [an_account("runpod", name="runpod-main"), an_account("vastai", name="vast")]
    busy = a_fleet(
        name="embed-captions", accounts=accounts, max_instances=6, max_hourly_usd="4",
        daily_budget_usd="60", image="registry.example/worker:1",
    )  # fmt: skip
    paused = a_fleet(
        name="whisper-archive", accounts=accounts, max_instances=3, mode="paused",
        image="registry.example/worker:1",
    )  # fmt: skip
    read_for(accounts[0], now, 150)
    for n in range(12):
        stood(accounts[0], now, 148 - 12 * n, 148 - 12 * n - 2 - n % 5, interruptible=True)
    stood(accounts[0], now, 150, gpu_type="RTX 4090", hourly_usd=Decimal("0.69"))
    for fleet, count, depth in ((busy, 5, 41_800_000), (paused, 1, 9_412)):
        some_pods(fleet, accounts, count, now)
        some_samples(fleet, depth, now)
        steps = [
            ("demand", count, 42, f"{depth:,} items at 1,000,000 per pod"),
            ("max_instances", 42, 6, "Max pods is 6"),
            ("max_hourly_usd", 6, 6, "$3.4400/h of $4.00/h is committed, enough for 1 more pod"),
            ("spawn_per_tick", 6, 6, "a tick starts at most 1 pod"),
        ]
        Tick.objects.create(
            fleet=fleet, at=now, token=1, depth=depth, pending=320, active=count, ready=3, desired=6,
            target=6, spawned=1, retired=0, items_per_second=26.2, hourly_usd=Decimal("2.55"),
            spent_today_usd=Decimal("17.42"), binding="max_instances", milliseconds=12,
            sentence=f"has {count} pods, starts 1 pod (NVIDIA L4 at $0.39/h and 8.4 items/s: $12.90 per "
            f"million items, best of 14); the backlog needs 42 pods ({depth:,} items at 1,000,000 "
            "per pod); limited to 6 because Max pods is 6",
            steps=[dict(zip(("rule", "before", "after", "because"), s, strict=True)) for s in steps],
            snapshot={"depth": depth, "pending": 320},
        )  # fmt: skip
    for cause, severity, text, minutes in (
        ("pod_old", "warning", "pod 7f3a21 of embed-captions has lived for 25 h, longer than "
         "24 h; it has cost $17.25", 61),
        ("destroy_fails", "critical", "pod 91bc04 of embed-captions still bills: its destroy has "
         "failed for 22 min (RunPod answers 500)", 22),
    ):  # fmt: skip
        since = now - timedelta(minutes=minutes)
        Alert.objects.create(
            cause=cause, subject=cause, fleet=busy, severity=severity, text=text,
            first_seen_at=since, last_seen_at=now,
        )  # fmt: skip


def pages() -> dict[str, str]:
    fleet, pod, tick = Fleet.objects.first(), Pod.objects.first(), Tick.objects.first()
    assert fleet is not None
    assert pod is not None
    assert tick is not None
    return {
        "overview": "/admin/",
        "fleets": "/admin/fleet/fleet/",
        "pods": "/admin/pods/pod/",
        "pod": f"/admin/pods/pod/{pod.pk}/change/",
        "logs": f"/admin/pods/pod/{pod.pk}/logs/",
        "fleet": f"/admin/fleet/fleet/{fleet.pk}/change/",
        "decisions": "/admin/fleet/tick/",
        "decision": f"/admin/fleet/tick/{tick.pk}/change/",
        "next": f"/admin/fleets/{fleet.pk}/next/",
        "alerts": "/admin/fleet/alert/",
        "money": "/admin/money/",
        "market": "/admin/market/",
        "accounts": "/admin/pods/account/",
        "limits": "/admin/fleet/limits/",
    }


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_every_page_has_no_error_and_fits_the_screen(
    size: str,
    scheme: str,
    log_in: Callable[..., Page],
    live_server: Any,
    pytestconfig: pytest.Config,
) -> None:
    make_rows()
    into: Path | None = pytestconfig.getoption("--pictures")
    page = log_in(
        "operator", viewport=SIZES[size], color_scheme=scheme, timezone_id="Europe/Berlin"
    )
    errors: list[str] = []
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    for name, path in pages().items():
        answer = page.goto(live_server.url + path)
        assert answer is not None
        assert answer.status == 200, name
        page.wait_for_load_state("networkidle")
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
        assert page.evaluate(COVERED) == [], name
        assert not errors, name
        if into is not None:
            into.mkdir(exist_ok=True)
            picture = into / f"{name}-{size}-{scheme}.jpg"
            if into.resolve() != IN_DOCS or picture.exists():
                page.screenshot(path=picture, type="jpeg", quality=60)
