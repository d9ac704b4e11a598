"""Operators answer alerts in their rows, and follow the log of a pod, in a real browser."""

from collections.abc import Callable

import pytest
from playwright.sync_api import Page, expect

from fleet.models import Alert
from tests.support.factories import a_fleet, a_pod, an_alert

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.mark.takes(15)
def test_an_alert_is_snoozed_and_another_acknowledged_in_their_rows(
    log_in: Callable[..., Page],
) -> None:
    fleet = a_fleet(name="emb")
    first = an_alert(fleet, subject="pod:1", text="the first")
    second = an_alert(fleet, subject="pod:2", text="the second")
    page = log_in("operator", java_script_enabled=False)
    page.goto(f"{page.url.partition('/admin/')[0]}/admin/fleet/alert/")
    page.click("summary[aria-label='Snooze: the first']")
    page.click("button[aria-label='Snooze for 8 h: the first']")
    expect(page.locator("body")).to_contain_text("Snoozed for 8 h: the first")
    page.click("button[aria-label='Acknowledge: the second']")
    expect(page.locator("body")).to_contain_text("Acknowledged: the second")
    expect(page.locator("body")).to_contain_text("No alert here.")
    said = Alert.objects.get(pk=first.pk)
    assert (said.snoozed_by, said.acknowledged_by) == ("operator", "")
    assert Alert.objects.get(pk=second.pk).acknowledged_by == "operator"


@pytest.mark.takes(15)
def test_a_log_is_followed_until_somebody_stops_it(log_in: Callable[..., Page]) -> None:
    pod = a_pod(a_fleet(name="emb"))
    page = log_in("viewer")
    page.goto(f"{page.url.partition('/admin/')[0]}/admin/pods/pod/{pod.pk}/logs/")
    follow = page.get_by_role("button", name="Follow")
    with page.expect_response(lambda answer: "part=1" in answer.url) as asked:
        follow.click()
    assert asked.value.ok
    button = page.locator("#pf-follow")
    expect(button).to_have_attribute("aria-pressed", "true")
    expect(button).to_have_text("Following")
    expect(page.locator("#pf-log-part")).to_contain_text("The log cannot be read")
    button.click()
    expect(button).to_have_attribute("aria-pressed", "false")
