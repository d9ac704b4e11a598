"""Archiving, dead letters and accounts in a browser, at both sizes and in both colours."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from fleet.models import Fleet, Tick
from pods.base.clock import utcnow
from pods.base.redis import make_consumer_group, redis_client
from pods.models import Account
from tests.support.factories import a_fleet, a_pod, an_account, an_alert
from tests.support.looks import LOOKS, SIZES

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]
TRACEBACK = "Traceback (most recent call last):\n" + "\n".join(
    f'  File "/srv/my_handlers/captions_{n}.py", line {n}, in caption_a_batch' for n in range(20)
)


def some_dead_letters(redis_url: str, count: int = 30) -> None:
    client = redis_client(redis_url)
    make_consumer_group(client, "captions", "captions")
    for n in range(count):
        client.xadd(
            "captions:dead",
            {
                "payload": "https://images.example/" + "a-long-name/" * 30, "id": f"image-{n}",
                "dead_error": f"ValueError: image {n} has 0 bytes; give an image of at least one pixel",
                "dead_traceback": TRACEBACK, "dead_deliveries": "5", "dead_pod": "pf-ab12cd-1-7f3a21",
                "dead_at_ms": "1795473132695",
            },
        )  # fmt: skip


def a_tick(fleet: Fleet, **values: Any) -> None:
    defaults: dict[str, Any] = {"depth": 0, "sentence": "keeps 0 pods"}
    Tick.objects.create(
        fleet=fleet, at=utcnow(), token=1, active=0, desired=0, target=0, **{**defaults, **values}
    )


@pytest.mark.timeout(240)
@pytest.mark.takes(40)
@pytest.mark.parametrize(("size", "scheme"), LOOKS)
def test_the_pages_of_operating_have_no_error_and_fit_the_screen(
    size: str,
    scheme: str,
    log_in: Callable[..., Page],
    live_server: Any,
    redis_url: str,
    pytestconfig: pytest.Config,
) -> None:
    some_dead_letters(redis_url)
    fleet = a_fleet(name="captions", stream="captions", group="captions")
    archived = a_fleet(name="whisper-2025", stream="whisper", archived_at=utcnow(), mode="paused")
    account = an_account(
        "runpod", name="runpod-main", sealed_secret="v1:x", options={"volume_gb": 20}
    )
    an_alert(fleet, cause="dead_letters", subject=f"fleet:{fleet.pk}", text="30 items failed")
    for n in range(9):
        a_tick(a_fleet(name=f"fleet-{n}", stream=f"stream-{n}"), depth=n)
    pages = {
        "overview-many": "/admin/",
        "fleets": "/admin/fleet/fleet/",
        "fleet-verbs": f"/admin/fleet/fleet/{fleet.pk}/change/",
        "fleet-archived": f"/admin/fleet/fleet/{archived.pk}/change/",
        "dead-letters": f"/admin/fleet/fleet/{fleet.pk}/dead/",
        "account-choose": "/admin/pods/account/add/",
        "account-add": "/admin/pods/account/add/?provider=docker",
        "account": f"/admin/pods/account/{account.pk}/change/",
    }
    into: Path | None = pytestconfig.getoption("--pictures")
    page = log_in("admin", viewport=SIZES[size], color_scheme=scheme)
    errors: list[str] = []
    page.on("console", lambda line: errors.append(line.text) if line.type == "error" else None)
    page.on("pageerror", lambda error: errors.append(str(error)))
    for name, path in pages.items():
        answer = page.goto(live_server.url + path)
        assert answer is not None
        assert answer.status == 200, name
        page.wait_for_load_state("networkidle")
        if name == "dead-letters":
            page.locator("summary", has_text="Item and traceback").first.click()
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, name
        assert not errors, name
        if into is not None:
            into.mkdir(exist_ok=True)
            picture = into / f"{name}-{size}-{scheme}.jpg"
            page.screenshot(path=picture, type="jpeg", quality=60, full_page=True)


@pytest.mark.timeout(120)
@pytest.mark.takes(15)
def test_an_operator_follows_the_alert_and_retries_then_deletes_what_failed(
    log_in: Callable[..., Page], redis_url: str
) -> None:
    some_dead_letters(redis_url)
    fleet = a_fleet(name="captions", stream="captions", group="captions")
    an_alert(fleet, cause="dead_letters", subject=f"fleet:{fleet.pk}", text="30 items failed")
    client, page = redis_client(redis_url), log_in("operator")
    page.click("text=Failed items by error")
    groups = page.locator(".pf-group")
    expect(groups).to_have_count(1)  # the errors differ by a number alone
    expect(groups).to_contain_text("30 items")
    expect(groups).to_contain_text("ValueError: image 29 has 0 bytes")
    page.get_by_role("link", name="Each item").click()
    expect(page.get_by_text("ValueError: image 0 has 0 bytes")).to_be_visible()
    page.click("text=Next 25 items")
    expect(page.get_by_text("ValueError: image 29 has")).to_be_visible()
    page.check("input[aria-label='Choose image-29']")
    page.click("button:has-text('Retry the chosen items')")
    expect(page.get_by_text("1 item put back onto captions; 29 left")).to_be_visible()
    assert client.xlen("captions") == 1
    page.get_by_role("link", name="Grouped by error").click()
    page.click("button:has-text('Delete all')")
    expect(page.get_by_text("29 items of captions will be deleted for good")).to_be_visible()
    assert client.xlen("captions:dead") == 29
    page.click("button:has-text('Delete 29 items')")
    expect(page.get_by_text("No item of this fleet has failed for good.")).to_be_visible()


@pytest.mark.timeout(120)
@pytest.mark.takes(15)
def test_an_operator_archives_a_fleet_and_brings_it_back(
    log_in: Callable[..., Page], live_server: Any
) -> None:
    fleet = a_fleet(name="captions", stream="captions")
    busy = a_fleet(name="busy", stream="busy")
    a_pod(busy)
    page = log_in("operator")
    fleet_page = f"{live_server.url}/admin/fleet/fleet/{fleet.pk}/"
    page.goto(fleet_page)
    page.click("summary:has-text('Archive fleet')")
    page.get_by_role("button", name="Archive fleet", exact=True).click()
    expect(page.get_by_text("captions: archived; Redis keeps the stream captions")).to_be_visible()
    page.goto(f"{live_server.url}/admin/")
    expect(page.locator(f"#pf-fleet-{busy.pk}")).to_have_count(1)
    expect(page.locator(f"#pf-fleet-{fleet.pk}")).to_have_count(0)
    page.goto(fleet_page)
    expect(page.get_by_text("hidden, no ticks, history kept")).to_be_visible()
    page.click("summary:has-text('Restore fleet')")
    page.fill("input[name=new_name]", "captions-2026")
    page.click("button:has-text('Rename')")
    expect(page.get_by_role("link", name="captions-2026", exact=True)).to_be_visible()
    fleet.refresh_from_db()
    assert fleet.name == "captions-2026"
    page.goto(fleet_page)
    page.click("summary:has-text('Restore fleet')")
    page.click("button:has-text('Restore fleet')")
    expect(page.get_by_text("captions-2026: back, and paused")).to_be_visible()
    page.goto(f"{live_server.url}/admin/fleet/fleet/{busy.pk}/")
    page.click("summary:has-text('Archive fleet')")
    page.click("button:has-text('Archive fleet when empty')")
    expect(page.get_by_text("it will be archived when its last pod has ended")).to_be_visible()


@pytest.mark.timeout(120)
@pytest.mark.takes(15)
def test_an_admin_adds_an_account_by_its_fields(
    log_in: Callable[..., Page], live_server: Any, tmp_path: Path
) -> None:
    page = log_in("admin")
    page.goto(f"{live_server.url}/admin/pods/account/")
    page.click("text=Add account")
    page.click("text=Pods that are processes on this machine.")
    page.fill("input[name=name]", "here")
    page.fill("input[name=option_root]", str(tmp_path))
    page.fill("input[name=option_capacity]", "many")
    page.click("button[name=_save]")
    refused = page.get_by_text("give a whole number, or leave it empty for the default")
    expect(refused).to_have_count(2)  # above the form, and at the field
    expect(refused.first).to_be_visible()
    expect(refused.last).to_be_visible()
    page.get_by_role("alert").get_by_role("link", name="Most pods at once").click()
    expect(page.locator("input[name=option_capacity]")).to_be_focused()
    page.fill("input[name=option_capacity]", "2")
    page.click("button[name=_save]")
    expect(page.get_by_text("here is saved. This machine answers.")).to_be_visible()
    account = Account.objects.get()
    assert account.options == {"root": str(tmp_path), "capacity": 2}
