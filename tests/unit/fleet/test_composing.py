"""The address of an alert channel, from what a person knows of it."""

import pytest

from fleet.alerts import composing, notifying
from fleet.alerts.composing import Kind, Missing

SLACK = "https://hooks.slack.com/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"


@pytest.mark.parametrize(
    ("kind", "given", "address"),
    [
        (
            Kind.SLACK,
            {"slack_webhook": f" {SLACK}\n"},
            "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        ),
        (
            Kind.EMAIL,
            {
                "email_to": "ops@example.com",
                "email_server": "smtp.example.com:587",
                "email_user": "me@example.com",
                "email_password": "a/b@c",
            },
            "mailtos://me%40example.com:a%2Fb%40c@smtp.example.com:587"
            "?from=me%40example.com&to=ops%40example.com",
        ),
        (
            Kind.EMAIL,
            {
                "email_to": "ops@example.com",
                "email_server": "smtp.example.com",
                "email_user": "me",
                "email_password": "p",
                "email_from": "podfleet@example.com",
            },
            "mailtos://me:p@smtp.example.com?from=podfleet%40example.com&to=ops%40example.com",
        ),
        (
            Kind.EMAIL,
            {
                "email_to": "ops@example.com",
                "email_server": "smtp.example.com",
                "email_from": "podfleet@example.com",
            },
            "mailtos://smtp.example.com?from=podfleet%40example.com&to=ops%40example.com",
        ),
        (
            Kind.EMAIL,
            {
                "email_to": "ops@example.com",
                "email_server": "smtp.example.com",
                "email_user": "me@example.com",
                "email_password": "p",
                "email_from": "podfleet@example.com",
            },
            "mailtos://me%40example.com:p@smtp.example.com"
            "?from=podfleet%40example.com&to=ops%40example.com",
        ),
        (Kind.NTFY, {"ntfy_topic": "my-topic"}, "ntfys://my-topic"),
        (
            Kind.NTFY,
            {"ntfy_topic": "t", "ntfy_server": "http://n.example.com"},
            "ntfy://n.example.com/t",
        ),
        (
            Kind.NTFY,
            {"ntfy_topic": "t", "ntfy_server": "https://n.example.com:8443"},
            "ntfys://n.example.com:8443/t",
        ),
        (
            Kind.PAGERDUTY,
            {"pagerduty_key": "a" * 32, "pagerduty_api_key": "b" * 20},
            f"pagerduty://{'a' * 32}@{'b' * 20}",
        ),
        (Kind.WEBHOOK, {"webhook_url": "https://example.com/a/b"}, "jsons://example.com/a/b"),
        (Kind.WEBHOOK, {"webhook_url": "http://example.com/a"}, "json://example.com/a"),
        (
            Kind.WEBHOOK,
            {"webhook_url": "https://example.com/a?+X-Key=b"},
            "jsons://example.com/a?+X-Key=b",
        ),
        (
            Kind.SLACK,
            {"slack_webhook": SLACK.replace("services/", "services//") + "/"},
            "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ",
        ),
        (Kind.OTHER, {"address": "discord://1/2"}, "discord://1/2"),
    ],
)
def test_each_kind_has_an_address_that_the_notifier_understands(
    kind: Kind, given: dict[str, str], address: str
) -> None:
    assert composing.composed(kind, given) == address
    assert composing.kind_of(address) is kind
    if kind is not Kind.OTHER:
        assert notifying.notifier(address) is not None


@pytest.mark.parametrize("kind", list(Kind))
def test_an_empty_form_says_which_field_is_missing(kind: Kind) -> None:
    with pytest.raises(Missing) as said:
        composing.composed(kind, {})
    assert said.value.field
    assert str(said.value).startswith("give ")


@pytest.mark.parametrize(
    "hook",
    [
        "https://example.com/services/T/B/C",
        "https://hooks.slack.com/services/T/B",
        "https://hooks.slack.com/services/T/B/C/D",
        "https://hooks.slack.com/workflows/T/B/C",
        "ftp://hooks.slack.com/services/T/B/C",
        "http://[::1",
        "x",
    ],
)
def test_what_is_not_a_slack_webhook_is_refused_without_being_repeated(hook: str) -> None:
    with pytest.raises(Missing) as said:
        composing.composed(Kind.SLACK, {"slack_webhook": hook})
    assert hook not in str(said.value)


@pytest.mark.parametrize("hook", ["ftp://example.com/a", "https://", "https:///a", "example.com"])
def test_what_is_not_an_address_of_the_web_is_refused(hook: str) -> None:
    with pytest.raises(Missing, match="give an address such as https://"):
        composing.composed(Kind.WEBHOOK, {"webhook_url": hook})


def test_a_mail_needs_a_sender_and_a_user_that_is_an_address_is_one() -> None:
    given = {"email_to": "ops@example.com", "email_server": "smtp.example.com", "email_user": "me"}
    with pytest.raises(Missing, match="give the sender") as said:
        composing.composed(Kind.EMAIL, given)
    assert said.value.field == "email_from"
