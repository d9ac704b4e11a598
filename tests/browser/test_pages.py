"""Each page on a desktop and a phone, light and dark, has no error and no horizontal scrolling."""

from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from fleet.models import Alert, Fleet, Tick
from pods.base.clock import utcnow
from pods.models import Pod
from tests.support.factories import a_fleet, an_account
from tests.support.looks import COVERED, IN_DOCS, LOOKS, SIZES
from tests.support.rows_of_pages import some_pods, some_samples
from tests.support.spells import read_for, stood

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


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
