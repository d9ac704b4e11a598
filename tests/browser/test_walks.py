"""Whole walks of an operator: an alert at night on a phone, and a day with the keyboard alone."""

from collections.abc import Callable
from typing import Any, Final

import pytest
from playwright.sync_api import Page, expect

from fleet.models import Alert, Fleet, Limits
from fleet.tick import ticking
from pods import health, spawning, teardown
from pods.accounts import surveying
from pods.base.redis import redis_client
from pods.models import Pod
from pods.states import REQUESTED
from tests.support.every_page import STREAM, some_failed_items
from tests.support.factories import a_fleet, a_pod, an_account, an_alert
from tests.support.waiting import until

pytestmark = [
    pytest.mark.browser,
    pytest.mark.django_db(transaction=True),
    pytest.mark.timeout(240),
    pytest.mark.takes(20),
]
PHONE: Final = {"width": 390, "height": 844}
BROKEN, WORKS = "no_such_module:embed", "pods.agent.handlers.pace:sleep"
FITS: Final = "document.documentElement.scrollWidth <= innerWidth"


def a_pod_starts(fleet: Fleet) -> Pod:
    """A real agent, as a process on this machine."""
    ticking.tick_fleet(fleet.pk)
    pod = Pod.objects.filter(fleet=fleet, state=REQUESTED).latest("pk")
    spawning.spawn_pod(pod.pk)
    return pod


def looked_at(pod: Pod) -> Pod:
    """What the workers do in their next rounds."""
    health.sweep_account(pod.account)
    health.check_pod(pod.pk)
    teardown.teardown_pod(pod.pk)
    pod.refresh_from_db()
    return pod


def tab_to(page: Page, words: str, most: int = 80) -> None:
    """Press Tab until the focus is on what begins with these words."""
    said = "(document.activeElement.getAttribute('aria-label') || document.activeElement.innerText || '')"
    passed = []
    for _ in range(most):
        page.keyboard.press("Tab")
        passed.append(str(page.evaluate(said)).strip())
        if passed[-1].startswith(words):
            return
    pytest.fail(f"no Tab reaches {words!r}; passed: {passed}")


def test_at_night_on_a_phone_from_the_alert_to_a_fleet_that_works_again(
    log_in: Callable[..., Page], live_server: Any, redis_url: str
) -> None:
    some_failed_items(redis_url)
    client = redis_client(redis_url)
    for n in range(20):
        client.xadd(STREAM, {"payload": str(n), "id": f"new-{n}"})
    fleet = a_fleet(
        name="captions", stream=STREAM, group=STREAM, handler=BROKEN, accounts=[an_account()],
        target_depth_per_pod=10, heartbeat_seconds=0.3,
    )  # fmt: skip
    surveying.survey_account(fleet.accounts.get())
    failed = a_pod_starts(fleet)
    until(lambda: looked_at(failed).ended_at is not None, seconds=30)
    an_alert(
        fleet, cause="boots_fail", subject=f"fleet:{fleet.pk}", severity="critical",
        text="captions: its pods fail: no module named no_such_module",
    )  # fmt: skip
    an_alert(fleet, cause="dead_letters", subject=f"fleet:{fleet.pk}:dead", text="3 items failed")

    # What is it?
    page = log_in("operator", viewport=PHONE, has_touch=True, is_mobile=True)
    expect(page.get_by_text("its pods fail: no module named no_such_module")).to_be_visible()
    assert page.evaluate(FITS)

    # Why? The alert leads to the last log.
    page.goto(f"{live_server.url}/admin/fleet/alert/")
    page.locator("a", has_text="its pods fail").first.tap()
    expect(page.get_by_role("heading", name="What to do")).to_be_visible()
    assert page.evaluate(FITS)
    alert_page = page.url
    page.get_by_role("link", name="Open last log").tap()
    expect(page.locator(".pf-logs")).to_contain_text("no_such_module")
    assert page.evaluate(FITS)

    # Pause, so that it costs nothing more.
    page.goto(alert_page)
    page.get_by_role("button", name="Pause captions").tap()
    expect(page.get_by_text("paused from the next tick")).to_be_visible()
    ticking.tick_fleet(fleet.pk)
    assert not Pod.objects.filter(fleet=fleet, state=REQUESTED).exists()

    # Mend the handler. The link leads to its field.
    page.goto(alert_page)
    page.get_by_role("link", name="Edit handler").tap()
    page.wait_for_url("**/change/#id_handler")
    page.fill("#id_handler", WORKS)
    assert page.evaluate(FITS)
    page.locator("button[name=_save], input[name=_save]").first.tap()
    expect(page.get_by_text("Saved. In force")).to_be_visible()
    fleet.refresh_from_db()
    assert fleet.handler == WORKS

    # Put the failed items back.
    page.goto(f"{live_server.url}/admin/fleet/fleet/{fleet.pk}/dead/")
    assert page.evaluate(FITS)
    before = client.xlen(STREAM)
    while client.xlen(f"{STREAM}:dead"):
        left = client.xlen(f"{STREAM}:dead")
        page.get_by_role("button", name="Retry").first.tap()
        expect(
            page.get_by_text(f"{left - 1} left").or_(page.get_by_text("No item"))
        ).to_be_visible()
        assert client.xlen(f"{STREAM}:dead") < left
    assert client.xlen(STREAM) == before + 3

    # Resume; a real agent takes all items.
    page.goto(live_server.url + "/admin/")
    page.locator("summary", has_text="More for captions").tap()
    page.get_by_role("button", name="Resume captions").tap()
    until(lambda: Fleet.objects.get().mode == "running")
    pod = a_pod_starts(fleet)
    until(lambda: looked_at(pod).done >= 23, seconds=90)
    assert not client.xlen(f"{STREAM}:dead")
    Fleet.objects.update(mode="stop_all")
    ticking.tick_fleet(fleet.pk)
    until(lambda: looked_at(pod).state == "terminated", seconds=60)


def test_with_the_keyboard_alone_an_operator_answers_pauses_and_stops_everything(
    log_in: Callable[..., Page], live_server: Any, redis_url: str
) -> None:
    fleet = a_fleet(name="captions", stream=STREAM)
    a_pod(fleet, REQUESTED)
    alert = an_alert(fleet, text="a pod is old")
    page = log_in("operator")

    tab_to(page, "Acknowledge")
    page.keyboard.press("Enter")
    expect(page.get_by_text("cknowledged: a pod is old")).to_be_visible()
    alert.refresh_from_db()
    assert alert.acknowledged_by == "operator"

    page.goto(f"{live_server.url}/admin/")
    tab_to(page, "Pause captions")
    page.keyboard.press("Space")
    expect(page.get_by_text("paused from the next tick")).to_be_visible()
    assert Fleet.objects.get().mode == "paused"

    page.goto(f"{live_server.url}/admin/")
    tab_to(page, "captions")
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/admin/fleet/fleet/{fleet.pk}/**")

    page.goto(f"{live_server.url}/admin/")
    tab_to(page, "Stop everything…", most=2)
    page.keyboard.press("Enter")
    expect(page.get_by_role("button", name="Stop everything")).to_be_visible()
    assert not Limits.get().stopped
    tab_to(page, "Stop everything, destroy")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Everything is stopped, since")).to_be_visible()
    assert Limits.get().stopped
    assert Alert.objects.filter(pk=alert.pk).exists()


def test_from_an_empty_installation_to_a_first_fleet_that_works(
    log_in: Callable[..., Page], live_server: Any, redis_url: str
) -> None:
    page = log_in("admin")
    expect(page.get_by_role("heading", name="Your first fleet, about 3 minutes")).to_be_visible()
    assert page.get_by_text("Stop everything").count() == 0  # nothing runs yet
    page.get_by_role("button", name="Try it here, free").click()

    # The form is filled with an example; saving it makes the fleet.
    page.wait_for_url("**/admin/fleet/fleet/add/**")
    name = page.locator("#id_name").input_value()
    assert page.locator("#id_max_hourly_usd").input_value()  # it never begins without a limit
    page.locator("button[name=_save], input[name=_save]").first.click()
    expect(page.get_by_text("Saved. In force")).to_be_visible()
    fleet = Fleet.objects.get(name=name)
    client = redis_client(redis_url)
    for n in range(8):
        client.xadd(fleet.stream, {"payload": str(n), "id": f"first-{n}"})

    surveying.survey_account(fleet.accounts.get())
    pod = a_pod_starts(fleet)
    until(lambda: looked_at(pod).done >= 8, seconds=90)
    page.goto(f"{live_server.url}/admin/")
    expect(page.get_by_role("link", name="Stop everything")).to_be_visible()
    expect(page.get_by_text(name).first).to_be_visible()
    Fleet.objects.update(mode="stop_all")
    ticking.tick_fleet(fleet.pk)
    until(lambda: looked_at(pod).state == "terminated", seconds=60)
