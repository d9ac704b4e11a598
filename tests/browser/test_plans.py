"""The pages that say what would be, on each screen and in both colours; and a quote as it is printed."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from html import escape
from math import cos, pi
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Locator, Page

from fleet import shadowing
from fleet.decision.values import OfferFacts, PodFacts, Snapshot
from fleet.models import Fleet, FleetForecast, Limits, Shadow, Tick
from fleet.tick.policies import policy_of
from fleet.tick.recording import recorded, recorded_policy
from pods.base.clock import utcnow
from pods.states import READY
from tests.support.factories import a_fleet, hours
from tests.support.fleet_command import run
from tests.support.goals_of_rows import a_market, fill, with_speed
from tests.support.looks import COVERED, IN_DOCS, LOOKS, SIZES
from tests.support.rows_of_pages import some_pods, some_samples
from tests.support.spells import read_for, stood

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
PERIOD = timedelta(minutes=2)
RATE, PRICE = 8.4, Decimal("0.92")
TERMINAL = (
    "<pre style='margin:0;padding:24px;font:16px/1.45 monospace;width:fit-content;"
    "background:#16181d;color:#e8e8e8'>{}</pre>"
)


def past_ticks(fleet: Fleet, now: datetime) -> None:
    """A day in which two pods do not keep up with the items at first, until fewer come."""
    pods = tuple(
        PodFacts(
            pod_id=n, state=READY, hourly_usd=PRICE, age=hours(30), gpu_type="L4", gpu_count=1,
            account_id=1, offer_key="spot", ready_for=hours(29), items_per_second=RATE, in_flight=64,
        )
        for n in (1, 2)
    )  # fmt: skip
    offer = OfferFacts(account_id=1, key="spot", hourly_usd=PRICE, gpu_type="L4", gpu_count=1)
    rules = recorded_policy(policy_of(fleet, Limits.get(), now))
    rows, depth = [], 900_000.0
    for n in range(720, -1, -1):
        came = 16 - 8 * cos(pi * n / 720)
        depth += PERIOD.total_seconds() * (came - 2 * RATE)
        seen = Snapshot(
            now=now - n * PERIOD, depth=round(depth), pods=pods, offers=(offer,),
            items_per_second=2 * RATE, boot_time=timedelta(minutes=4),
        )  # fmt: skip
        rows.append(
            Tick(
                fleet=fleet, at=seen.now, token=n, depth=seen.depth, active=2, desired=2, target=2,
                ready=2, hourly_usd=2 * PRICE, sentence="keeps 2 pods", snapshot=recorded(seen),
                policy=rules, items_per_second=2 * RATE,
            )
        )  # fmt: skip
    Tick.objects.bulk_create(rows)


def make_plans(redis_url: str) -> Fleet:
    """A fleet with a day behind it, a forecast, a shadow and a market."""
    now = utcnow()
    account = a_market()
    fleet = a_fleet(
        name="embed-captions", accounts=[account], image="registry.example/worker:1",
        max_instances=2, target_depth_per_pod=20_000, daily_budget_usd="60",
    )  # fmt: skip
    with_speed(fleet, RATE)
    some_pods(fleet, [account, account], 2, now)
    fill(fleet, redis_url, 100)  # of the backlog it only counts that it is known
    read_for(account, now, 150)
    for n in range(12):
        stood(account, now, 148 - 12 * n, 148 - 12 * n - 2 - n % 5, interruptible=True)
    some_samples(fleet, 828_000, now)
    past_ticks(fleet, now)
    FleetForecast.objects.create(
        fleet=fleet, at=now, depth=828_000, likely_at=now + hours(26), sure_at=now + hours(31),
        likely_usd=Decimal("48.20"), sure_usd=Decimal("57.10"), pods=2, pod_hours=52.0, days=6.0,
        replays=40,
    )  # fmt: skip
    shadowing.begin(fleet, {"max_instances": 3}, by="ann")
    Shadow.objects.update(since=now - hours(25))
    shadowing.go_on()
    shadowing.go_on()
    return fleet


def pages(fleet: Fleet) -> dict[str, str]:
    own = f"/admin/fleet/fleet/{fleet.pk}"
    return {
        "card": "/admin/",
        "forecast": f"{own}/",
        "what-if": f"{own}/what-if/?span=24h&max_instances=3",
        "shadow": f"{own}/shadow/",
    }


def keep(page: Page | Locator, name: str, look: str, into: Path | None) -> None:
    """Write the picture; in the folder of the docs only those that are there."""
    if into is None:
        return
    into.mkdir(exist_ok=True)
    picture = into / f"{name}-{look}.jpg"
    if into.resolve() != IN_DOCS or picture.exists():
        page.screenshot(path=picture, type="jpeg", quality=60)


@pytest.mark.timeout(240)
@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_the_pages_of_plans_have_no_error_and_fit_the_screen(
    size: str,
    scheme: str,
    log_in: Callable[..., Page],
    live_server: Any,
    redis_url: str,
    pytestconfig: pytest.Config,
) -> None:
    fleet = make_plans(redis_url)
    into: Path | None = pytestconfig.getoption("--pictures")
    page = log_in(
        "operator", viewport=SIZES[size], color_scheme=scheme, timezone_id="Europe/Berlin"
    )
    errors: list[str] = []
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    for name, path in pages(fleet).items():
        answer = page.goto(live_server.url + path)
        assert answer is not None
        assert answer.status == 200, name
        page.wait_for_load_state("networkidle")
        if name == "card":
            page.locator("summary", has_text="of 2 pods").click()
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
        assert page.evaluate(COVERED) == [], name
        assert not errors, name
        keep(page, name, f"{size}-{scheme}", into)
    if into is not None:
        by = (utcnow() + hours(60)).strftime("%Y-%m-%dT%H:%MZ")
        words = ("quote", fleet.name, "--items", "1,500,000", "--by", by)
        shown = f"$ fleet {' '.join(words)}\n\n{run(*words)}"
        page.set_content(TERMINAL.format(escape(shown)))
        keep(page.locator("pre"), "quote", f"{size}-{scheme}", into)
