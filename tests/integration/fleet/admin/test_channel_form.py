"""The form of an alert channel: a kind with its own fields; nothing that was typed is shown again."""

import html
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from fleet.alerts import addresses, delivering
from fleet.models import Channel, Delivery
from pods.base.clock import utcnow
from tests.support.admin_pages import a_user, fields_of, page_of
from tests.support.factories import a_fleet, an_alert

pytestmark = pytest.mark.django_db
ADD = "admin:fleet_channel_add"
CHANNELS = "admin:fleet_channel_changelist"
HOOK = "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
GIVEN = {"name": "ops", "min_severity": "warning", "enabled": "on"}


def test_a_slack_webhook_becomes_an_address_that_is_sealed(admin_client: Client) -> None:
    sent = {**GIVEN, "kind": "slack", "slack_webhook": HOOK, "webhook_url": "ignored"}
    page = admin_client.post(reverse(ADD), sent, follow=True).content.decode()
    assert "Saved. Send a test to see that ops works." in page
    channel = Channel.objects.get()
    assert addresses.unseal(channel.sealed_url).startswith("slack://T1JJ3T3L2/")
    assert "T1JJ3T3L2" not in page
    assert "Keep the stored address (Slack)" in page
    assert "Send a test" in page
    assert "no alert yet" in page


def test_an_edit_keeps_the_address_until_another_kind_is_chosen(admin_client: Client) -> None:
    channel = delivering.add_channel("ops", "json://93.184.216.34/hook")
    sent = fields_of(channel)
    admin_client.post(page_of(channel), {**sent, "min_severity": "critical"})
    channel.refresh_from_db()
    assert addresses.unseal(channel.sealed_url) == "json://93.184.216.34/hook"
    admin_client.post(page_of(channel), {**sent, "kind": "slack", "slack_webhook": HOOK})
    channel.refresh_from_db()
    assert addresses.unseal(channel.sealed_url).startswith("slack://")


@pytest.mark.parametrize(
    ("kind", "field", "typed", "said"),
    [
        ("slack", "slack_webhook", "https://example.com/hunter2", "as Slack shows it"),
        ("webhook", "webhook_url", "http://127.0.0.1/hunter2", "private network"),
        ("ntfy", "ntfy_topic", "", "give the topic"),
        ("email", "email_to", "", "give the address that gets the alerts"),
        ("other", "address", "gopher://hunter2", "is not allowed"),
    ],
)
def test_a_wrong_value_is_refused_at_its_field_and_not_written_back(
    admin_client: Client, kind: str, field: str, typed: str, said: str
) -> None:
    answer: Any = admin_client.post(reverse(ADD), {**GIVEN, "kind": kind, field: typed})
    assert list(answer.context["adminform"].form.errors) == [field]
    page = html.unescape(answer.content.decode())
    assert said in page
    assert "hunter2" not in page
    assert not Channel.objects.exists()


def test_the_list_says_when_a_channel_last_took_an_alert(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    for n in range(3):
        channel = delivering.add_channel(f"ops{n}", "json://93.184.216.34/hook")
        alert = an_alert(a_fleet(), subject=f"pod:{n}")
        for hours, state in ((2, "sent"), (1, "failed")):
            Delivery.objects.create(
                alert=alert, channel=channel, announcement=hours, state=state, due_at=utcnow(),
                sent_at=utcnow() - timedelta(hours=2) if state == "sent" else None,
            )  # fmt: skip
    admin_client.get(reverse(CHANNELS))
    with django_assert_max_num_queries(10):
        page = admin_client.get(reverse(CHANNELS)).content.decode()
    assert page.count("2 h ago") == 3
    assert page.count("Webhook") == 3


def test_a_viewer_sees_a_channel_without_a_field_or_a_button() -> None:
    channel = delivering.add_channel("ops", "json://ann:hunter2@93.184.216.34/hook")
    page = a_user("viewer").get(page_of(channel)).content.decode()
    assert "ops" in page
    assert "Webhook" in page  # its kind
    assert "PagerDuty" not in page
    assert "Email" not in page
    assert "hunter2" not in page
    assert "Send a test" not in page
    assert 'name="address"' not in page
