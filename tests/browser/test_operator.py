"""An operator's work in a browser, from the first fleet to a stop of everything; a viewer cannot change a fleet."""

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from fleet.models import Alert, Fleet, Limits
from fleet.tick import ticking
from pods import spawning, teardown
from pods.base.clock import utcnow
from pods.base.redis import redis_client
from pods.models import Pod
from pods.states import READY, REQUESTED
from tests.support.factories import a_fleet, a_pod, an_account
from tests.support.waiting import until

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def an_old_pods_alert(fleet: Fleet) -> Alert:
    now = utcnow()
    return Alert.objects.create(
        cause="pod_old", subject="pod:1", fleet=fleet, severity="warning",
        text="a pod has lived for 25 h", first_seen_at=now, last_seen_at=now,
    )  # fmt: skip


@pytest.mark.timeout(180)
def test_an_operator_makes_a_fleet_watches_it_grow_pauses_it_and_stops_all(
    log_in: Callable[..., Page], live_server: Any, redis_url: str
) -> None:
    an_account(name="local")
    page = log_in("operator")
    expect(page.get_by_text("No fleet yet.")).to_be_visible()

    page.click("text=Create the first fleet")
    page.fill("input[name=name]", "captions")
    page.fill("input[name=handler]", "pods.agent.handlers.pace:sleep")
    page.fill("input[name=stream]", "captions")
    page.click("summary:has-text('Scaling: all defaults')")
    page.fill("input[name=target_depth_per_pod]", "10")
    page.check("label:has-text('local')")
    page.click("button[name=_save]")
    expect(page.get_by_text("Saved. In force from the next tick.")).to_be_visible()
    fleet = Fleet.objects.get(name="captions")
    assert fleet.max_instances == 1

    page.goto(f"{live_server.url}/admin/fleet/fleet/{fleet.pk}/change/")
    page.fill("input[name=max_instances]", "3")
    page.click("summary:has-text('Scaling: 1 changed')")
    page.fill("input[name=spawn_per_tick]", "2")
    expect(page.locator("#pf-preview")).to_contain_text("the next tick")
    page.click("button[name=_save]")
    page.goto(f"{live_server.url}/admin/")
    expect(page.get_by_text("0 of 3 pods")).to_be_visible()

    client = redis_client(redis_url)
    for n in range(100):
        client.xadd("captions", {"payload": str(n)})
    ticking.tick_fleet(fleet.pk)
    expect(page.get_by_text("1 requested")).to_be_visible()  # the canary; the page was not reloaded
    pod = Pod.objects.get()
    spawning.spawn_pod(pod.pk)
    expect(page.get_by_text("1 booting")).to_be_visible()

    page.click("button:has-text('Pause')")
    expect(page.get_by_text("paused from the next tick")).to_be_visible()
    alert = an_old_pods_alert(fleet)
    expect(page.get_by_text("a pod has lived for 25 h")).to_be_visible()
    page.click("button:has-text('Acknowledge')")
    expect(page.get_by_text("acknowledged: a pod has lived for 25 h")).to_be_visible()
    alert.refresh_from_db()
    assert alert.acknowledged_by == "operator"

    page.click("text=Stop everything…")
    expect(page.get_by_text("1 pod of 1 fleet will be destroyed")).to_be_visible()
    page.click("text=Show pods")
    expect(page.get_by_text(pod.name)).to_be_visible()
    assert not Limits.get().stopped  # until the operator confirms
    page.click("button:has-text('Stop everything, destroy 1 pod')")
    expect(page.get_by_text("by operator")).to_be_visible()
    ticking.tick_fleet(fleet.pk)
    until(lambda: _ended(pod), seconds=60)
    page.goto(f"{live_server.url}/admin/")
    expect(page.get_by_text("0 of 3 pods")).to_be_visible()
    page.click("text=Undo…")
    page.click("button:has-text('Undo the stop')")
    expect(page.get_by_text("the installation is running again")).to_be_visible()
    fleet.refresh_from_db()
    assert fleet.mode == "paused"  # as before
    assert [h.history_user.username for h in fleet.history.all() if h.history_user] == [
        "operator"
    ] * 3


def _ended(pod: Pod) -> bool:
    teardown.teardown_pod(pod.pk)
    pod.refresh_from_db()
    return pod.state == "terminated"


@pytest.mark.fault(69)
def test_a_viewer_sees_everything_and_has_no_button(
    log_in: Callable[..., Page], live_server: Any
) -> None:
    fleet = a_fleet(name="captions")
    pod = a_pod(fleet, READY)
    an_old_pods_alert(fleet)
    page = log_in("viewer")
    expect(page.get_by_role("heading", name="captions")).to_be_visible()
    expect(page.get_by_text("a pod has lived for 25 h")).to_be_visible()
    for word in ("Pause", "Stop", "Acknowledge"):
        expect(page.locator(f"button:has-text('{word}')")).to_have_count(0)
    page.goto(f"{live_server.url}/admin/pods/pod/{pod.pk}/change/")
    expect(page.get_by_text("What happened")).to_be_visible()
    expect(page.locator("button:has-text('Destroy')")).to_have_count(0)

    # Post the operator's form by hand with the viewer's own token.
    page.goto(f"{live_server.url}/admin/password_change/")
    token = page.locator("input[name=csrfmiddlewaretoken]").first.input_value()
    answer = page.request.post(
        f"{live_server.url}/admin/fleets/{fleet.pk}/mode/",
        form={"mode": "paused", "csrfmiddlewaretoken": token},
        headers={"Referer": live_server.url},
    )
    assert answer.status == 403
    fleet.refresh_from_db()
    assert fleet.mode == "running"


def test_buttons_work_with_the_keyboard(log_in: Callable[..., Page], live_server: Any) -> None:
    a_pod(a_fleet(name="captions"), REQUESTED)
    page = log_in("operator")
    page.get_by_role("button", name="Pause").focus()
    page.keyboard.press("Enter")
    expect(page.get_by_text("paused from the next tick")).to_be_visible()
    assert Fleet.objects.get().mode == "paused"
    hour = page.get_by_role("radio", name="1 h")
    hour.focus()
    with page.expect_response("**/admin/chart/?part=1&stretch=24h*"):
        page.keyboard.press("ArrowRight")
    day = page.get_by_role("radio", name="24 h")
    expect(day).to_be_checked()
    expect(day).to_be_focused()
