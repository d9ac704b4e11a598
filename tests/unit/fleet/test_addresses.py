"""Which hosts an address of an alert channel is checked for, and which addresses are refused."""

from types import SimpleNamespace
from typing import Any

import pytest

from fleet.alerts import addresses, delivering, notifying
from fleet.alerts.addresses import BadAddress
from fleet.decision.alert_facts import Severity
from pods.base import sealing

SLACK = "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"


@pytest.fixture
def hosts(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts that were checked; no name is resolved."""
    checked: list[str] = []
    monkeypatch.setattr(addresses, "check_host", checked.append)
    return checked


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        (" JSON://example.com/x ", ["example.com"]),
        ("json://example.com/x?+X-Token=a", ["example.com"]),
        ("json://example.com?&to=a&", ["example.com"]),
        (
            "mailto://u:p@example.com?to=a@b.c&smtp=mail%2Eexample.org",
            ["example.com", "mail.example.org"],
        ),
        ("ntfy://topic", []),
        ("ntfys://topic/", []),
        ("ntfy://example.com/topic", ["example.com"]),
        ("ntfy://example.com?mode=private", ["example.com"]),
        ("gotify://example.com", ["example.com"]),
        (SLACK, []),
    ],
)
def test_each_host_to_which_an_address_leads_is_checked(
    url: str, checked: list[str], hosts: list[str]
) -> None:
    addresses.check(url)
    assert hosts == checked


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("json:///x", "json:// needs a host, a token or a topic after it"),
        ("syslog://x", "syslog:// is not allowed; use one of discord, form"),
        ("example.com/x", "no:// is not allowed"),
        ("json://[::1", "cannot be read"),
        ("json://x?to=a;cc=b", "separate parameters with &"),
        ("json://x?to=a&template=b&pgpkey=c", "the parameter pgpkey, template is not allowed"),
    ],
)
def test_an_address_that_is_not_allowed_is_refused(url: str, says: str, hosts: list[str]) -> None:
    with pytest.raises(BadAddress) as said:
        addresses.check(url)
    assert says in str(said.value)


@pytest.mark.parametrize(
    ("url", "checked"),
    [
        ("json://example.com/x", ["example.com"]),
        (
            "mailto://u:p@example.com?to=a@b.c&smtp=mail.example.org",
            ["example.com", "mail.example.org"],
        ),
        ("ntfy://topic", []),
        ("ntfy://example.com/topic", ["example.com"]),
        (SLACK, []),
    ],
)
def test_each_host_that_the_notifier_reads_is_checked(
    url: str, checked: list[str], hosts: list[str]
) -> None:
    assert delivering._notifier(url) is not None
    assert hosts == checked


@pytest.mark.parametrize(
    ("url", "names"), [(" JSON://x", True), (SLACK, False), ("jsonx://x", False)]
)
def test_whether_an_address_names_a_host(url: str, names: bool) -> None:
    assert addresses.names_host(url) is names


def test_an_address_that_was_stored_without_a_prefix_gets_it_once() -> None:
    sealed = sealing.seal("json://x")
    stored = sealed.removeprefix(sealing.PREFIX)
    assert stored != sealed
    assert addresses.with_prefix(stored) == addresses.with_prefix(sealed) == sealed


def test_an_address_that_is_not_complete_takes_no_message() -> None:
    assert not notifying.notify("slack://x", title="a", body="b", severity=Severity.INFO)


@pytest.mark.parametrize("taken", [True, False])
def test_whether_a_channel_took_a_message_is_what_the_notifier_says(
    monkeypatch: pytest.MonkeyPatch, taken: bool
) -> None:
    said: list[dict[str, Any]] = []

    def take(**message: Any) -> bool:
        said.append(message)
        return taken

    monkeypatch.setattr(notifying, "notifier", lambda _: SimpleNamespace(notify=take))
    assert notifying.notify("u", title="a", body="b", severity=Severity.CRITICAL) is taken
    assert said == [{"title": "a", "body": "b", "notify_type": notifying.KINDS[Severity.CRITICAL]}]
